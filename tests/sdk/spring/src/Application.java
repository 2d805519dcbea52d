package shop;

import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.client.discovery.DiscoveryClient;
import org.springframework.cloud.client.discovery.EnableDiscoveryClient;
import org.springframework.cloud.client.loadbalancer.LoadBalanced;
import org.springframework.cloud.context.config.annotation.RefreshScope;
import org.springframework.context.annotation.Bean;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.client.RestTemplate;

/**
 * A provider and a consumer in one, as an application is written: nothing here knows of Nacos. The same source for every
 * release of Spring Cloud Alibaba, since Spring's own interfaces did not change.
 */
@SpringBootApplication
@EnableDiscoveryClient
public class Application {
    public static void main(String[] args) {
        SpringApplication.run(Application.class, args);
    }

    @Bean
    @LoadBalanced
    RestTemplate byName() {
        return new RestTemplate();
    }

    /** What the configuration says. */
    @RefreshScope
    @RestController
    static class Settings {
        @Value("${demo.greeting}")
        private String greeting;

        @Value("${demo.central:}")
        private String central;

        @Value("${demo.local:}")
        private String local;

        @Value("${server.port}")
        private String port;

        @GetMapping("/settings")
        public Map<String, String> settings() {
            Map<String, String> found = new TreeMap<>();
            found.put("greeting", greeting);
            found.put("central", central);
            found.put("local", local);
            found.put("port", port);
            return found;
        }
    }

    /** What discovery says. */
    @RestController
    static class Consumer {
        private final DiscoveryClient discovery;
        private final RestTemplate byName;

        Consumer(DiscoveryClient discovery, RestTemplate byName) {
            this.discovery = discovery;
            this.byName = byName;
        }

        @GetMapping("/instances")
        public List<String> instances(@RequestParam("service") String service) {
            return discovery.getInstances(service).stream()
                .map(one -> one.getHost() + ":" + one.getPort())
                .collect(Collectors.toList());
        }

        /** Another application's settings, called by its name and not by its address. */
        @GetMapping("/call")
        public Map<?, ?> call(@RequestParam("service") String service) {
            return byName.getForObject("http://" + service + "/settings", Map.class);
        }
    }
}
