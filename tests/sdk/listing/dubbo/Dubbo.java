package shop;

import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;

/**
 * A provider, `provider PORT GROUP`, or a consumer of any group, `consumer GROUP`, of one interface. A line on standard output
 * says what it has come to: "ready", or the answer of the call.
 */
public class Dubbo {
    public static void main(String[] args) throws Exception {
        DubboBootstrap bootstrap = DubboBootstrap.newInstance();
        ApplicationConfig application = new ApplicationConfig(args[0]);
        application.setQosEnable(false);
        application.setMetadataType("local");
        // By interface, where a consumer of any group has to list all services.
        application.setRegisterMode("interface");
        RegistryConfig registry = new RegistryConfig("nacos://" + System.getProperty("sdk.servers"));
        registry.setUseAsConfigCenter(false);
        registry.setUseAsMetadataCenter(false);
        bootstrap.application(application).registry(registry);
        if (args[0].equals("provider")) {
            provide(bootstrap, Integer.parseInt(args[1]), args[2]);
        } else {
            consume(bootstrap, args[1]);
        }
    }

    private static void provide(DubboBootstrap bootstrap, int port, String group) throws Exception {
        ProtocolConfig protocol = new ProtocolConfig("dubbo", port);
        protocol.setHost("127.0.0.1");
        ServiceConfig<Greeter> service = new ServiceConfig<>();
        service.setInterface(Greeter.class);
        service.setGroup(group);
        service.setRef(name -> "hello " + name + " from " + group);
        bootstrap.protocol(protocol).service(service).start();
        System.out.println("said: ready");
        Thread.currentThread().join();
    }

    private static void consume(DubboBootstrap bootstrap, String group) {
        ReferenceConfig<Greeter> reference = new ReferenceConfig<>();
        reference.setInterface(Greeter.class);
        reference.setGroup(group);
        reference.setTimeout(5000);
        reference.setCheck(true);
        bootstrap.reference(reference).start();
        System.out.println("said: " + reference.get().greet("dyad"));
        System.exit(0);
    }
}
