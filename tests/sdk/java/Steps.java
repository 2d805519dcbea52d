import com.alibaba.nacos.api.PropertyKeyConst;
import com.alibaba.nacos.api.naming.NamingService;
import com.alibaba.nacos.api.naming.listener.Event;
import com.alibaba.nacos.api.naming.listener.EventListener;
import com.alibaba.nacos.api.naming.listener.NamingEvent;
import com.alibaba.nacos.api.naming.pojo.Instance;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CopyOnWriteArrayList;

/** Steps, questions to the runner, waiting, and what a subscription has told. */
final class Steps {
    static final String GROUP = "SDK_GROUP";
    private static final String SERVERS = System.getenv("SDK_SERVERS");
    private static final Set<String> SKIP =
            new HashSet<>(Arrays.asList(String.valueOf(System.getenv("SDK_SKIP")).split(",")));
    private static final BufferedReader ANSWERS = new BufferedReader(new InputStreamReader(System.in));

    interface Check {
        String run() throws Exception;
    }

    static void step(String name, Check check) {
        if (SKIP.contains(name)) {
            return;
        }
        boolean passed = true;
        String detail;
        try {
            detail = check.run();
        } catch (Throwable error) {
            passed = false;
            detail = error.getClass().getSimpleName() + ": " + error.getMessage();
        }
        say("{\"step\":" + quoted(name) + ",\"ok\":" + passed + ",\"detail\":" + quoted(detail) + "}");
    }

    static void ask(String what) throws IOException {
        say("{\"ask\":" + quoted(what) + "}");
        ANSWERS.readLine();
    }

    static void askHold(String service, String ip, int port) throws IOException {
        say("{\"ask\":\"hold\",\"service\":" + quoted(service) + ",\"ip\":" + quoted(ip) + ",\"port\":" + port + "}");
        ANSWERS.readLine();
    }

    static void sayEvent(List<Instance> instances) {
        StringBuilder list = new StringBuilder();
        for (Instance instance : instances) {
            list.append(list.length() == 0 ? "" : ",").append(quoted(address(instance)));
        }
        say("{\"event\":[" + list + "]}");
    }

    private static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : String.valueOf(text).toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ') {
                out.append(' ');
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }

    /** How long it took; the SDK may throw while no server answers. */
    static String until(int seconds, Callable<Boolean> holds) throws Exception {
        long began = System.nanoTime();
        Object last = "not yet";
        while (System.nanoTime() - began < seconds * 1_000_000_000L) {
            try {
                if (holds.call()) {
                    return (System.nanoTime() - began) / 1_000_000 + " ms";
                }
            } catch (Exception error) {
                last = error;
            }
            Thread.sleep(20);
        }
        throw new AssertionError("not within " + seconds + " s: " + last);
    }

    static void check(boolean holds, Object otherwise) {
        if (!holds) {
            throw new AssertionError(String.valueOf(otherwise));
        }
    }

    static Properties properties(String namespace) {
        Properties properties = new Properties();
        properties.put(PropertyKeyConst.SERVER_ADDR, SERVERS);
        if (!namespace.isEmpty()) {
            properties.put(PropertyKeyConst.NAMESPACE, namespace);
        }
        return properties;
    }

    static Instance instance(String ip, int port, boolean ephemeral, String value) {
        Instance instance = new Instance();
        instance.setIp(ip);
        instance.setPort(port);
        instance.setEphemeral(ephemeral);
        instance.setClusterName("DEFAULT");
        instance.setMetadata(new HashMap<>(Collections.singletonMap("v", value)));
        return instance;
    }

    static String address(Instance instance) {
        return instance.getIp() + ":" + instance.getPort();
    }

    /** Address → the metadata `v`. */
    static Map<String, String> values(List<Instance> instances) {
        Map<String, String> values = new TreeMap<>();
        for (Instance instance : instances) {
            values.put(address(instance), String.valueOf(instance.getMetadata().get("v")));
        }
        return values;
    }

    static List<Instance> asked(NamingService naming, String service) throws Exception {
        return naming.getAllInstances(service, GROUP, false);
    }

    static Set<String> set(String... addresses) {
        return new HashSet<>(Arrays.asList(addresses));
    }

    /** A subscription: the lists of its callbacks so far. */
    static final class Watch implements EventListener {
        final List<List<Instance>> lists = new CopyOnWriteArrayList<>();

        Watch(NamingService naming, String service) throws Exception {
            naming.subscribe(service, GROUP, this);
        }

        @Override
        public void onEvent(Event event) {
            lists.add(((NamingEvent) event).getInstances());
        }

        Map<String, String> last() {
            return lists.isEmpty() ? new TreeMap<>() : values(lists.get(lists.size() - 1));
        }

        Set<String> addresses() {
            return last().keySet();
        }
    }
}
