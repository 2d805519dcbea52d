import static java.util.Arrays.asList;
import static java.util.Collections.singletonList;

import com.alibaba.nacos.api.NacosFactory;
import com.alibaba.nacos.api.config.ConfigService;
import com.alibaba.nacos.api.config.listener.Listener;
import com.alibaba.nacos.api.naming.NamingService;
import com.alibaba.nacos.api.naming.pojo.Instance;
import com.alibaba.nacos.api.naming.pojo.ListView;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.math.BigInteger;
import java.security.MessageDigest;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Executor;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** The Java client of any version from 1.1 on; what older ones do not have is called by reflection. */
public final class Driver {
    private static final String GROUP = Steps.GROUP;
    private static final String SERVICE = "sdk-java-" + System.currentTimeMillis();
    private static final String CONFIG = SERVICE + ".properties";

    private final NamingService mine;
    private final NamingService other;

    private Driver() throws Exception {
        mine = NacosFactory.createNamingService(Steps.properties(""));
        other = NacosFactory.createNamingService(Steps.properties(""));
    }

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "standalone":
                new Driver().standalone();
                break;
            case "cluster":
                new Driver().cluster();
                break;
            case "hold":
                hold(args[1], args[2], Integer.parseInt(args[3]));
                break;
            case "cache":
                cache(args[1]);
                break;
            default:
                throw new IllegalArgumentException(args[0]);
        }
        Runtime.getRuntime().halt(0); // the SDK's threads would keep the process
    }

    private void standalone() throws Exception {
        Steps.step("connect", () -> Steps.until(10, () -> "UP".equals(mine.getServerStatus())));
        Steps.step("register", () -> {
            mine.registerInstance(SERVICE, GROUP, Steps.instance("10.1.0.1", 8001, true, "1"));
            return "ok";
        });
        Steps.step("query", this::query);
        Steps.step("service-list", () -> {
            ListView<String> list = mine.getServicesOfServer(1, 1000, GROUP);
            Steps.check(list.getData().contains(SERVICE), list);
            return "count " + list.getCount();
        });
        Steps.Watch watch = new Steps.Watch(other, SERVICE);
        Steps.step("subscribe", () -> Steps.until(10, () -> watch.addresses().equals(Steps.set("10.1.0.1:8001"))));
        Steps.step("push", () -> {
            other.registerInstance(SERVICE, GROUP, Steps.instance("10.1.0.2", 8002, true, "1"));
            return Steps.until(15, () -> watch.addresses().equals(Steps.set("10.1.0.1:8001", "10.1.0.2:8002")));
        });
        Steps.step("update", () -> {
            mine.registerInstance(SERVICE, GROUP, Steps.instance("10.1.0.1", 8001, true, "2"));
            return Steps.until(15, () -> "2".equals(watch.last().get("10.1.0.1:8001")));
        });
        Steps.step("deregister", () -> {
            other.deregisterInstance(SERVICE, GROUP, Steps.instance("10.1.0.2", 8002, true, "1"));
            return Steps.until(15, () -> watch.addresses().equals(Steps.set("10.1.0.1:8001")));
        });
        Steps.step("client-death", () -> {
            Steps.askHold(SERVICE, "10.1.0.3", 8003);
            Steps.until(30, () -> watch.addresses().contains("10.1.0.3:8003"));
            Steps.ask("kill-held");
            return Steps.until(60, () -> watch.addresses().equals(Steps.set("10.1.0.1:8001")));
        });
        Steps.step("empty", () -> {
            mine.deregisterInstance(SERVICE, GROUP, Steps.instance("10.1.0.1", 8001, true, "2"));
            Steps.until(15, () -> Steps.asked(mine, SERVICE).isEmpty());
            return Steps.until(15, () -> watch.addresses().isEmpty());
        });
        Steps.step("unsubscribe", () -> {
            other.unsubscribe(SERVICE, GROUP, watch);
            return other.getSubscribeServices().size() + " left";
        });
        Steps.step("persistent", this::persistent);
        Steps.step("batch", this::batch);
        Steps.step("clusters", this::clusters);
        Steps.step("namespace", this::namespace);
        Steps.step("fuzzy-watch", () -> reflected("fuzzy", new Class<?>[] {NamingService.class, String.class}, mine, SERVICE));
        Steps.step("lock", () -> reflected("lock", new Class<?>[] {Properties.class}, Steps.properties("")));
        config();
        Steps.step("restart", this::restart);
    }

    private String query() throws Exception {
        String took = Steps.until(5, () -> Steps.asked(other, SERVICE).size() == 1);
        Instance found = Steps.asked(other, SERVICE).get(0);
        Steps.check("1".equals(found.getMetadata().get("v")) && found.isHealthy(), found);
        Steps.check((GROUP + "@@" + SERVICE).equals(found.getServiceName()), found);
        return took;
    }

    private String persistent() throws Exception {
        String service = SERVICE + "-durable";
        mine.registerInstance(service, GROUP, Steps.instance("10.1.0.4", 8004, false, "1"));
        Steps.until(10, () -> {
            List<Instance> list = Steps.asked(other, service);
            return list.size() == 1 && !list.get(0).isEphemeral();
        });
        mine.deregisterInstance(service, GROUP, Steps.instance("10.1.0.4", 8004, false, "1"));
        return Steps.until(10, () -> Steps.asked(other, service).isEmpty());
    }

    private String batch() throws Exception {
        Method register;
        try {
            register = NamingService.class.getMethod("batchRegisterInstance", String.class, String.class, List.class);
        } catch (NoSuchMethodException absent) {
            return null;
        }
        String service = SERVICE + "-batch";
        call(register, mine, service, GROUP, asList(Steps.instance("10.1.0.5", 1, true, "1"), Steps.instance("10.1.0.5", 2, true, "1")));
        Steps.until(10, () -> Steps.asked(other, service).size() == 2);
        call(register, mine, service, GROUP, asList(Steps.instance("10.1.0.5", 2, true, "1"), Steps.instance("10.1.0.5", 3, true, "1")));
        return Steps.until(10, () -> Steps.values(Steps.asked(other, service)).keySet().equals(Steps.set("10.1.0.5:2", "10.1.0.5:3")));
    }

    private String clusters() throws Exception {
        String service = SERVICE + "-clusters";
        Instance there = Steps.instance("10.1.0.6", 1, true, "1");
        there.setClusterName("c2");
        mine.registerInstance(service, GROUP, there);
        other.registerInstance(service, GROUP, Steps.instance("10.1.0.7", 1, true, "1"));
        return Steps.until(10, () -> other.getAllInstances(service, GROUP, singletonList("c2"), false).size() == 1
                && Steps.asked(other, service).size() == 2);
    }

    private String namespace() throws Exception {
        String service = SERVICE + "-namespace";
        NamingService there = NacosFactory.createNamingService(Steps.properties("sdk-namespace"));
        there.registerInstance(service, GROUP, Steps.instance("10.1.0.8", 1, true, "1"));
        String took = Steps.until(8, () -> Steps.asked(there, service).size() == 1);
        Steps.check(Steps.asked(mine, service).isEmpty(), "seen in another namespace");
        return took;
    }

    private String restart() throws Exception {
        String service = SERVICE + "-restart";
        ConfigService config = NacosFactory.createConfigService(Steps.properties(""));
        Followed followed = new Followed(config, service + ".properties");
        followed.change(config, "before", 30);
        mine.registerInstance(service, GROUP, Steps.instance("10.1.0.9", 8009, true, "1"));
        Steps.Watch watch = new Steps.Watch(other, service);
        Steps.until(10, () -> watch.addresses().equals(Steps.set("10.1.0.9:8009")));
        Steps.ask("restart");
        String took = Steps.until(60, () -> Steps.asked(other, service).size() == 1);
        Steps.until(30, () -> {
            mine.registerInstance(service, GROUP, Steps.instance("10.1.0.9", 8009, true, "restarted"));
            return true;
        });
        String told = Steps.until(30, () -> "restarted".equals(watch.last().get("10.1.0.9:8009")));
        Steps.step("config-restart", () -> {
            Steps.until(60, () -> "before".equals(config.getConfig(followed.id, GROUP, 3000)));
            return followed.change(config, "after", 60);
        });
        return "there again after " + took + ", a change told after " + told;
    }

    private void config() throws Exception {
        ConfigService[] config = new ConfigService[1];
        Steps.step("config-connect", () -> {
            config[0] = NacosFactory.createConfigService(Steps.properties(""));
            return Steps.until(10, () -> "UP".equals(config[0].getServerStatus()));
        });
        Steps.step("config-get-missing", () -> {
            Steps.check(config[0].getConfig(CONFIG, GROUP, 3000) == null, "something is there");
            return "null";
        });
        Steps.step("config-publish", () -> {
            Steps.check(config[0].publishConfig(CONFIG, GROUP, "a=1\n中文"), "false");
            return "ok";
        });
        Steps.step("config-get", () -> Steps.until(5, () -> "a=1\n中文".equals(config[0].getConfig(CONFIG, GROUP, 3000))));
        BlockingQueue<String> heard = new LinkedBlockingQueue<>();
        Steps.step("config-listen", () -> {
            config[0].addListener(CONFIG, GROUP, listener(heard));
            Thread.sleep(1500); // the SDK starts listening by itself, and tells what is there
            heard.clear();
            Steps.check(config[0].publishConfig(CONFIG, GROUP, "a=2"), "not published");
            long began = System.nanoTime();
            String told = heard.poll(20, TimeUnit.SECONDS);
            Steps.check("a=2".equals(told), told);
            return (System.nanoTime() - began) / 1_000_000 + " ms";
        });
        Steps.step("config-cas", () -> compareAndSet(config[0]));
        Steps.step("config-remove", () -> {
            Steps.check(config[0].removeConfig(CONFIG, GROUP), "false");
            return Steps.until(5, () -> config[0].getConfig(CONFIG, GROUP, 3000) == null);
        });
        Steps.step("config-namespace", () -> {
            ConfigService there = NacosFactory.createConfigService(Steps.properties("sdk-namespace"));
            there.publishConfig("n-" + CONFIG, GROUP, "there");
            String took = Steps.until(8, () -> "there".equals(there.getConfig("n-" + CONFIG, GROUP, 3000)));
            Steps.check(config[0].getConfig("n-" + CONFIG, GROUP, 3000) == null, "seen in another namespace");
            return took;
        });
        Class<?>[] types = {ConfigService.class, String.class};
        Steps.step("config-fuzzy-watch", () -> reflected("config", types, config[0], SERVICE));
    }

    /** A configuration whose changes are told. */
    private static final class Followed {
        final String id;
        private final BlockingQueue<String> heard = new LinkedBlockingQueue<>();

        Followed(ConfigService listening, String id) throws Exception {
            this.id = id;
            listening.addListener(id, GROUP, listener(heard));
        }

        /** Publishes, again until it is taken, and waits until it is told. */
        String change(ConfigService publishing, String content, int seconds) throws Exception {
            Steps.until(seconds, () -> publishing.publishConfig(id, GROUP, content));
            return Steps.until(seconds, () -> {
                String told = heard.poll();
                while (told != null && !content.equals(told)) {
                    told = heard.poll();
                }
                return told != null;
            });
        }
    }

    private static Listener listener(BlockingQueue<String> heard) {
        return new Listener() {
            @Override
            public Executor getExecutor() {
                return null;
            }

            @Override
            public void receiveConfigInfo(String content) {
                heard.add(String.valueOf(content));
            }
        };
    }

    private static String compareAndSet(ConfigService config) throws Exception {
        Method publish;
        try {
            publish = ConfigService.class.getMethod("publishConfigCas", String.class, String.class, String.class, String.class);
        } catch (NoSuchMethodException absent) {
            return null;
        }
        byte[] digest = MessageDigest.getInstance("MD5").digest("a=2".getBytes("UTF-8"));
        String present = String.format("%032x", new BigInteger(1, digest));
        boolean stale = (Boolean) call(publish, config, CONFIG, GROUP, "a=3", "00000000000000000000000000000000");
        boolean fresh = (Boolean) call(publish, config, CONFIG, GROUP, "a=3", present);
        Steps.check(!stale && fresh, "stale " + stale + ", present " + fresh);
        return "stale refused, present accepted";
    }

    private void cluster() throws Exception {
        String service = SERVICE + "-cluster";
        Set<String> both = Steps.set("10.1.1.1:8001", "10.1.1.2:8002");
        Steps.step("cluster-register", () -> {
            mine.registerInstance(service, GROUP, Steps.instance("10.1.1.1", 8001, true, "1"));
            return Steps.until(10, () -> Steps.asked(other, service).size() == 1);
        });
        Steps.Watch watch = new Steps.Watch(other, service);
        Steps.step("cluster-push", () -> {
            Steps.until(20, () -> watch.addresses().equals(Steps.set("10.1.1.1:8001")));
            other.registerInstance(service, GROUP, Steps.instance("10.1.1.2", 8002, true, "1"));
            return Steps.until(20, () -> watch.addresses().equals(both));
        });
        ConfigService publishing = NacosFactory.createConfigService(Steps.properties(""));
        ConfigService listening = NacosFactory.createConfigService(Steps.properties(""));
        Followed followed = new Followed(listening, service + ".properties");
        Steps.step("cluster-config", () -> followed.change(publishing, "0", 20));
        int seen = watch.lists.size() - 1;
        for (int number = 1; number <= 3; number++) {
            int at = number;
            Steps.Check config = () -> followed.change(publishing, "death-" + at, 60);
            Steps.step("death-" + at, () -> death(service, watch, both, at, seen, config));
        }
        Steps.step("cluster-deregister", () -> {
            other.deregisterInstance(service, GROUP, Steps.instance("10.1.1.2", 8002, true, "1"));
            return Steps.until(20, () -> watch.addresses().equals(Steps.set("10.1.1.1:8001")));
        });
    }

    /** A member dies; a change is told all the same, and no callback misses an instance. */
    private String death(String service, Steps.Watch watch, Set<String> both, int number, int seen, Steps.Check config)
            throws Exception {
        Steps.ask("kill-" + number);
        try {
            Steps.step("config-death-" + number, config);
            String value = "death-" + number;
            Steps.until(30, () -> {
                mine.registerInstance(service, GROUP, Steps.instance("10.1.1.1", 8001, true, value));
                return true;
            });
            String took = Steps.until(30, () -> value.equals(watch.last().get("10.1.1.1:8001")));
            Map<String, String> asked = Steps.values(Steps.asked(mine, service));
            Steps.check(asked.keySet().equals(both), "a query gives " + asked);
            for (List<Instance> list : watch.lists.subList(seen, watch.lists.size())) {
                Steps.check(Steps.values(list).keySet().equals(both) && list.size() == 2, "a callback gave " + Steps.values(list));
            }
            return took;
        } finally {
            Steps.ask("revive-" + number);
        }
    }

    private static void hold(String service, String ip, int port) throws Exception {
        NamingService naming = NacosFactory.createNamingService(Steps.properties(""));
        naming.registerInstance(service, GROUP, Steps.instance(ip, port, true, "1"));
        Steps.Watch watch = new Steps.Watch(naming, service);
        for (int told = 0;; Thread.sleep(20)) {
            for (; told < watch.lists.size(); told++) {
                Steps.sayEvent(watch.lists.get(told));
            }
        }
    }

    /** With no server there, what an earlier process saw is on the disk. */
    private static void cache(String service) throws Exception {
        Properties properties = Steps.properties("");
        properties.put("namingLoadCacheAtStart", "true");
        NamingService naming = NacosFactory.createNamingService(properties);
        Steps.sayEvent(naming.getAllInstances(service, GROUP));
    }

    private static Object call(Method method, Object target, Object... arguments) throws Exception {
        try {
            return method.invoke(target, arguments);
        } catch (InvocationTargetException error) {
            throw error.getCause() instanceof Exception ? (Exception) error.getCause() : error;
        }
    }

    private static String reflected(String name, Class<?>[] types, Object... arguments) throws Exception {
        Class<?> fuzzy;
        try {
            fuzzy = Class.forName("Fuzzy");
        } catch (ClassNotFoundException absent) {
            return null;
        }
        return (String) call(fuzzy.getMethod(name, types), null, arguments);
    }
}
