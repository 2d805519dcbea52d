import com.alibaba.nacos.api.NacosFactory;
import com.alibaba.nacos.api.config.ConfigService;
import com.alibaba.nacos.api.config.listener.ConfigFuzzyWatchChangeEvent;
import com.alibaba.nacos.api.lock.LockService;
import com.alibaba.nacos.api.lock.model.LockInstance;
import com.alibaba.nacos.api.naming.NamingService;
import com.alibaba.nacos.api.naming.listener.AbstractFuzzyWatchEventWatcher;
import com.alibaba.nacos.api.naming.listener.FuzzyWatchChangeEvent;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CopyOnWriteArrayList;

/** What only clients of 3.x have; compiled for these alone and called by reflection. */
public final class Fuzzy {
    /** A pattern tells the services that are there and those that come and go. */
    public static String fuzzy(NamingService naming, String service) throws Exception {
        List<String> told = new CopyOnWriteArrayList<>();
        String before = "fuzzy-" + service + "-before";
        String after = "fuzzy-" + service + "-after";
        naming.registerInstance(before, Steps.GROUP, Steps.instance("10.1.0.9", 1, true, "1"));
        naming.fuzzyWatch("fuzzy-" + service + "-*", Steps.GROUP, new AbstractFuzzyWatchEventWatcher() {
            @Override
            public void onEvent(FuzzyWatchChangeEvent event) {
                told.add(event.getChangeType() + " " + event.getServiceName());
            }
        });
        Steps.until(15, () -> told.contains("ADD_SERVICE " + before));
        naming.registerInstance(after, Steps.GROUP, Steps.instance("10.1.0.9", 1, true, "1"));
        String took = Steps.until(15, () -> told.contains("ADD_SERVICE " + after));
        naming.deregisterInstance(before, Steps.GROUP, Steps.instance("10.1.0.9", 1, true, "1"));
        naming.deregisterInstance(after, Steps.GROUP, Steps.instance("10.1.0.9", 1, true, "1"));
        return took;
    }

    /** A pattern tells the configurations that are there and those that come and go. */
    public static String config(ConfigService config, String service) throws Exception {
        List<String> told = new CopyOnWriteArrayList<>();
        String before = "fuzzy-" + service + "-before";
        String after = "fuzzy-" + service + "-after";
        Steps.check(config.publishConfig(before, Steps.GROUP, "1"), "not published");
        config.fuzzyWatch("fuzzy-" + service + "-*", Steps.GROUP, new com.alibaba.nacos.api.config.listener.AbstractFuzzyWatchEventWatcher() {
            @Override
            public void onEvent(ConfigFuzzyWatchChangeEvent event) {
                told.add(event.getChangedType() + " " + event.getDataId());
            }
        });
        Steps.until(15, () -> told.contains("ADD_CONFIG " + before));
        Steps.check(config.publishConfig(after, Steps.GROUP, "1"), "not published");
        String took = Steps.until(15, () -> told.contains("ADD_CONFIG " + after));
        config.removeConfig(before, Steps.GROUP);
        Steps.until(15, () -> told.contains("DELETE_CONFIG " + before));
        config.removeConfig(after, Steps.GROUP);
        return took;
    }

    public static String lock(Properties properties) throws Exception {
        LockService one = NacosFactory.createLockService(properties);
        LockService two = NacosFactory.createLockService(properties);
        boolean first = one.remoteTryLock(new LockInstance("sdk-lock", 10_000L, "NACOS_LOCK"));
        boolean second = two.remoteTryLock(new LockInstance("sdk-lock", 10_000L, "NACOS_LOCK"));
        boolean released = one.remoteReleaseLock(new LockInstance("sdk-lock", 10_000L, "NACOS_LOCK"));
        Steps.check(first && !second && released, first + " " + second + " " + released);
        return "acquired, refused, released";
    }
}
