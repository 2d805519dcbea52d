// The Go SDK v2: gRPC, and HTTP v1 for persistent instances.
package main

import (
	"bufio"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/clients"
	"github.com/nacos-group/nacos-sdk-go/v2/clients/config_client"
	"github.com/nacos-group/nacos-sdk-go/v2/clients/naming_client"
	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
	"github.com/nacos-group/nacos-sdk-go/v2/model"
	"github.com/nacos-group/nacos-sdk-go/v2/vo"
)

const group = "SDK_GROUP"

var (
	service  = fmt.Sprintf("sdk-go-%d", time.Now().UnixMilli())
	dataID   = service + ".properties"
	skip     = strings.Split(os.Getenv("SDK_SKIP"), ",")
	home     = os.Getenv("HOME")
	answers  = bufio.NewReader(os.Stdin)
	made     atomic.Int32
	speaking sync.Mutex
)

func say(line map[string]any) {
	text, _ := json.Marshal(line)
	speaking.Lock()
	defer speaking.Unlock()
	fmt.Println(string(text))
}

func ask(what string, more ...any) {
	line := map[string]any{"ask": what}
	for i := 0; i+1 < len(more); i += 2 {
		line[more[i].(string)] = more[i+1]
	}
	say(line)
	_, _ = answers.ReadString('\n')
}

func step(name string, check func() (string, error)) {
	for _, one := range skip {
		if one == name {
			return
		}
	}
	detail, err := check()
	if err != nil {
		detail = err.Error()
	}
	say(map[string]any{"step": name, "ok": err == nil, "detail": detail})
}

// until gives how long it took.
func until(seconds int, holds func() bool) (string, error) {
	began := time.Now()
	for time.Since(began) < time.Duration(seconds)*time.Second {
		if holds() {
			return fmt.Sprintf("%d ms", time.Since(began).Milliseconds()), nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return "", fmt.Errorf("not within %d s", seconds)
}

func parameters(namespace string) vo.NacosClientParam {
	var servers []constant.ServerConfig
	for _, address := range strings.Split(os.Getenv("SDK_SERVERS"), ",") {
		host, text, _ := net.SplitHostPort(address)
		port, _ := strconv.ParseUint(text, 10, 16)
		servers = append(servers, *constant.NewServerConfig(host, port, constant.WithContextPath("/nacos")))
	}
	directory := fmt.Sprintf("%s/%d", home, made.Add(1))
	config := constant.NewClientConfig(
		constant.WithNamespaceId(namespace), constant.WithTimeoutMs(5000), constant.WithNotLoadCacheAtStart(true),
		constant.WithUpdateCacheWhenEmpty(true), constant.WithLogDir(directory+"/log"), constant.WithCacheDir(directory+"/cache"),
		constant.WithLogLevel("error"))
	return vo.NacosClientParam{ClientConfig: config, ServerConfigs: servers}
}

func naming(namespace string) naming_client.INamingClient {
	client, err := clients.NewNamingClient(parameters(namespace))
	if err != nil {
		panic(err)
	}
	return client
}

func register(client naming_client.INamingClient, service, ip string, port uint64, value string, ephemeral bool, cluster string) error {
	done, err := client.RegisterInstance(vo.RegisterInstanceParam{
		ServiceName: service, GroupName: group, ClusterName: cluster, Ip: ip, Port: port, Weight: 1, Enable: true,
		Healthy: true, Ephemeral: ephemeral, Metadata: map[string]string{"v": value},
	})
	if err == nil && !done {
		err = errors.New("not registered")
	}
	return err
}

func deregister(client naming_client.INamingClient, service, ip string, port uint64, ephemeral bool) error {
	done, err := client.DeregisterInstance(vo.DeregisterInstanceParam{
		ServiceName: service, GroupName: group, Cluster: "DEFAULT", Ip: ip, Port: port, Ephemeral: ephemeral,
	})
	if err == nil && !done {
		err = errors.New("not deregistered")
	}
	return err
}

// list asks with a fresh client: one that has asked before answers from its cache.
func list(service string, clusters ...string) []model.Instance {
	client, err := clients.NewNamingClient(parameters(""))
	if err != nil {
		return nil
	}
	defer client.CloseClient()
	found, _ := client.SelectAllInstances(vo.SelectAllInstancesParam{ServiceName: service, GroupName: group, Clusters: clusters})
	return found
}

func values(instances []model.Instance) map[string]string {
	found := map[string]string{}
	for _, one := range instances {
		found[fmt.Sprintf("%s:%d", one.Ip, one.Port)] = one.Metadata["v"]
	}
	return found
}

func keys(found map[string]string, expected ...string) bool {
	if len(found) != len(expected) {
		return false
	}
	for _, key := range expected {
		if _, there := found[key]; !there {
			return false
		}
	}
	return true
}

// watch is a subscription: the lists of its callbacks so far.
type watch struct {
	lock  sync.Mutex
	lists [][]model.Instance
	param *vo.SubscribeParam
}

func subscribe(client naming_client.INamingClient, service string) (*watch, error) {
	w := &watch{}
	w.param = &vo.SubscribeParam{ServiceName: service, GroupName: group, SubscribeCallback: func(found []model.Instance, _ error) {
		w.lock.Lock()
		defer w.lock.Unlock()
		w.lists = append(w.lists, found)
	}}
	return w, client.Subscribe(w.param)
}

func (w *watch) all() [][]model.Instance {
	w.lock.Lock()
	defer w.lock.Unlock()
	return append([][]model.Instance{}, w.lists...)
}

func (w *watch) last() map[string]string {
	all := w.all()
	if len(all) == 0 {
		return nil
	}
	return values(all[len(all)-1])
}

func standalone() {
	mine, other := naming(""), naming("")
	step("connect", func() (string, error) { return until(10, mine.ServerHealthy) })
	step("register", func() (string, error) { return "ok", register(mine, service, "10.3.0.1", 8001, "1", true, "DEFAULT") })
	step("query", func() (string, error) {
		found := list(service)
		if len(found) != 1 || found[0].Metadata["v"] != "1" || !found[0].Healthy || found[0].ServiceName != group+"@@"+service {
			return "", fmt.Errorf("%+v", found)
		}
		return "ok", nil
	})
	step("service-list", func() (string, error) {
		return until(5, func() bool {
			found, _ := mine.GetAllServicesInfo(vo.GetAllServiceInfoParam{NameSpace: "public", GroupName: group, PageNo: 1, PageSize: 1000})
			for _, name := range found.Doms {
				if name == service {
					return true
				}
			}
			return false
		})
	})
	var w *watch
	step("subscribe", func() (string, error) {
		var err error
		if w, err = subscribe(other, service); err != nil {
			return "", err
		}
		return until(10, func() bool { return keys(w.last(), "10.3.0.1:8001") })
	})
	step("push", func() (string, error) {
		if err := register(other, service, "10.3.0.2", 8002, "1", true, "DEFAULT"); err != nil {
			return "", err
		}
		return until(15, func() bool { return keys(w.last(), "10.3.0.1:8001", "10.3.0.2:8002") })
	})
	step("update", func() (string, error) {
		_, err := mine.UpdateInstance(vo.UpdateInstanceParam{
			ServiceName: service, GroupName: group, ClusterName: "DEFAULT", Ip: "10.3.0.1", Port: 8001, Weight: 1, Enable: true,
			Healthy: true, Ephemeral: true, Metadata: map[string]string{"v": "2"},
		})
		if err != nil {
			return "", err
		}
		return until(15, func() bool { return w.last()["10.3.0.1:8001"] == "2" })
	})
	step("deregister", func() (string, error) {
		if err := deregister(other, service, "10.3.0.2", 8002, true); err != nil {
			return "", err
		}
		return until(15, func() bool { return keys(w.last(), "10.3.0.1:8001") })
	})
	step("client-death", func() (string, error) {
		ask("hold", "service", service, "ip", "10.3.0.3", "port", 8003)
		if _, err := until(30, func() bool { return keys(w.last(), "10.3.0.1:8001", "10.3.0.3:8003") }); err != nil {
			return "", err
		}
		ask("kill-held")
		return until(60, func() bool { return keys(w.last(), "10.3.0.1:8001") })
	})
	step("empty", func() (string, error) {
		if err := deregister(mine, service, "10.3.0.1", 8001, true); err != nil {
			return "", err
		}
		return until(15, func() bool { return len(w.last()) == 0 })
	})
	step("unsubscribe", func() (string, error) { return "ok", other.Unsubscribe(w.param) })
	step("persistent", func() (string, error) {
		name := service + "-durable"
		if err := register(mine, name, "10.3.0.4", 8004, "1", false, "DEFAULT"); err != nil {
			return "", err
		}
		if _, err := until(10, func() bool { found := list(name); return len(found) == 1 && !found[0].Ephemeral }); err != nil {
			return "", err
		}
		if err := deregister(mine, name, "10.3.0.4", 8004, false); err != nil {
			return "", err
		}
		return until(10, func() bool { return len(list(name)) == 0 })
	})
	step("batch", func() (string, error) {
		name := service + "-batch"
		param := vo.BatchRegisterInstanceParam{ServiceName: name, GroupName: group}
		for port := uint64(1); port < 3; port++ {
			param.Instances = append(param.Instances, vo.RegisterInstanceParam{
				Ip: "10.3.0.5", Port: port, Weight: 1, Enable: true, Healthy: true, Ephemeral: true, ClusterName: "DEFAULT"})
		}
		if _, err := mine.BatchRegisterInstance(param); err != nil {
			return "", err
		}
		return until(10, func() bool { return len(list(name)) == 2 })
	})
	step("clusters", func() (string, error) {
		name := service + "-clusters"
		if err := errors.Join(register(mine, name, "10.3.0.6", 1, "1", true, "c2"), register(other, name, "10.3.0.7", 1, "1", true, "DEFAULT")); err != nil {
			return "", err
		}
		return until(10, func() bool { return len(list(name, "c2")) == 1 && len(list(name)) == 2 })
	})
	step("namespace", func() (string, error) {
		name, there := service+"-namespace", naming("sdk-namespace")
		if err := register(there, name, "10.3.0.8", 1, "1", true, "DEFAULT"); err != nil {
			return "", err
		}
		took, err := until(8, func() bool {
			found, _ := there.SelectAllInstances(vo.SelectAllInstancesParam{ServiceName: name, GroupName: group})
			return len(found) == 1
		})
		if err == nil && len(list(name)) != 0 {
			err = errors.New("seen in another namespace")
		}
		return took, err
	})
	config()
	step("restart", func() (string, error) {
		name := service + "-restart"
		if err := register(mine, name, "10.3.0.9", 8009, "1", true, "DEFAULT"); err != nil {
			return "", err
		}
		again, err := subscribe(other, name)
		if err == nil {
			_, err = until(10, func() bool { return keys(again.last(), "10.3.0.9:8009") })
		}
		if err != nil {
			return "", err
		}
		settings, err := clients.NewConfigClient(parameters(""))
		if err != nil {
			return "", err
		}
		told, err := follow(settings, name+".properties")
		if err == nil {
			_, err = told.change(settings, "before", 30)
		}
		if err != nil {
			return "", err
		}
		ask("restart")
		step("config-restart", func() (string, error) {
			if _, err := until(60, func() bool { found, _ := settings.GetConfig(told.param); return found == "before" }); err != nil {
				return "", err
			}
			return told.change(settings, "after", 60)
		})
		took, err := until(60, func() bool { return keys(values(list(name)), "10.3.0.9:8009") })
		if err != nil {
			return "", err
		}
		if _, err = until(30, func() bool { return register(mine, name, "10.3.0.9", 8009, "restarted", true, "DEFAULT") == nil }); err != nil {
			return "", err
		}
		change, err := until(30, func() bool { return again.last()["10.3.0.9:8009"] == "restarted" })
		return fmt.Sprintf("there again after %s, a change told after %s", took, change), err
	})
}

func config() {
	var client config_client.IConfigClient
	key := vo.ConfigParam{DataId: dataID, Group: group}
	with := func(content string) vo.ConfigParam { param := key; param.Content = content; return param }
	publish := func(param vo.ConfigParam) (string, error) {
		done, err := client.PublishConfig(param)
		if err == nil && !done {
			err = errors.New("false")
		}
		return "ok", err
	}
	step("config-connect", func() (string, error) {
		var err error
		client, err = clients.NewConfigClient(parameters(""))
		return "ok", err
	})
	step("config-get-missing", func() (string, error) {
		if found, _ := client.GetConfig(key); found != "" {
			return "", errors.New(found)
		}
		return "nothing", nil
	})
	step("config-publish", func() (string, error) { return publish(with("a=1\n中文")) })
	step("config-get", func() (string, error) {
		return until(5, func() bool { found, _ := client.GetConfig(key); return found == "a=1\n中文" })
	})
	heard := make(chan string, 100)
	step("config-listen", func() (string, error) {
		param := key
		param.OnChange = func(_, _, _, content string) { heard <- content }
		if err := client.ListenConfig(param); err != nil {
			return "", err
		}
		time.Sleep(1500 * time.Millisecond) // the SDK starts listening by itself
		for len(heard) > 0 {
			<-heard
		}
		began := time.Now()
		if _, err := publish(with("a=2")); err != nil {
			return "", err
		}
		select {
		case told := <-heard:
			if told != "a=2" {
				return "", errors.New(told)
			}
			return fmt.Sprintf("%d ms", time.Since(began).Milliseconds()), nil
		case <-time.After(20 * time.Second):
			return "", errors.New("nothing told within 20 s")
		}
	})
	step("config-cas", func() (string, error) {
		stale, present := with("a=3"), with("a=3")
		stale.CasMd5 = strings.Repeat("0", 32)
		digest := md5.Sum([]byte("a=2"))
		present.CasMd5 = hex.EncodeToString(digest[:])
		if done, _ := client.PublishConfig(stale); done {
			return "", errors.New("a stale one was accepted")
		}
		return publish(present)
	})
	step("config-remove", func() (string, error) {
		if _, err := client.DeleteConfig(key); err != nil {
			return "", err
		}
		return until(5, func() bool { found, _ := client.GetConfig(key); return found == "" })
	})
	step("config-namespace", func() (string, error) {
		there, err := clients.NewConfigClient(parameters("sdk-namespace"))
		if err != nil {
			return "", err
		}
		param := vo.ConfigParam{DataId: "n-" + dataID, Group: group, Content: "there"}
		if _, err = there.PublishConfig(param); err != nil {
			return "", err
		}
		took, err := until(8, func() bool { found, _ := there.GetConfig(param); return found == "there" })
		if found, _ := client.GetConfig(vo.ConfigParam{DataId: "n-" + dataID, Group: group}); err == nil && found != "" {
			err = errors.New("seen in another namespace")
		}
		return took, err
	})
}

// followed is a configuration whose changes are told.
type followed struct {
	param vo.ConfigParam
	heard chan string
}

func follow(listening config_client.IConfigClient, id string) (*followed, error) {
	f := &followed{param: vo.ConfigParam{DataId: id, Group: group}, heard: make(chan string, 1000)}
	param := f.param
	param.OnChange = func(_, _, _, content string) { f.heard <- content }
	return f, listening.ListenConfig(param)
}

// change publishes, again until it is taken, and waits until it is told.
func (f *followed) change(publishing config_client.IConfigClient, content string, seconds int) (string, error) {
	param := f.param
	param.Content = content
	if _, err := until(seconds, func() bool { done, err := publishing.PublishConfig(param); return done && err == nil }); err != nil {
		return "", err
	}
	return until(seconds, func() bool {
		for len(f.heard) > 0 {
			if <-f.heard == content {
				return true
			}
		}
		return false
	})
}

func cluster() {
	mine, other := naming(""), naming("")
	name := service + "-cluster"
	both := []string{"10.3.1.1:8001", "10.3.1.2:8002"}
	step("cluster-register", func() (string, error) {
		if err := register(mine, name, "10.3.1.1", 8001, "1", true, "DEFAULT"); err != nil {
			return "", err
		}
		return until(10, func() bool { return keys(values(list(name)), both[0]) })
	})
	w, err := subscribe(other, name)
	step("cluster-push", func() (string, error) {
		if err != nil {
			return "", err
		}
		if _, err := until(20, func() bool { return keys(w.last(), both[0]) }); err != nil {
			return "", err
		}
		if err := register(other, name, "10.3.1.2", 8002, "1", true, "DEFAULT"); err != nil {
			return "", err
		}
		return until(20, func() bool { return keys(w.last(), both...) })
	})
	publishing, err := clients.NewConfigClient(parameters(""))
	if err != nil {
		panic(err)
	}
	listening, err := clients.NewConfigClient(parameters(""))
	if err != nil {
		panic(err)
	}
	told, err := follow(listening, name+".properties")
	step("cluster-config", func() (string, error) {
		if err != nil {
			return "", err
		}
		return told.change(publishing, "0", 20)
	})
	seen := len(w.all()) - 1
	for number := 1; number <= 3; number++ {
		step(fmt.Sprintf("death-%d", number), func() (string, error) {
			ask(fmt.Sprintf("kill-%d", number))
			defer ask(fmt.Sprintf("revive-%d", number))
			value := fmt.Sprintf("death-%d", number)
			step("config-"+value, func() (string, error) { return told.change(publishing, value, 60) })
			if _, err := until(30, func() bool { return register(mine, name, "10.3.1.1", 8001, value, true, "DEFAULT") == nil }); err != nil {
				return "", err
			}
			took, err := until(30, func() bool { return w.last()[both[0]] == value })
			if err != nil {
				return "", err
			}
			if _, err := until(10, func() bool { return len(list(name)) > 0 }); err != nil {
				return "", err
			}
			if asked := values(list(name)); !keys(asked, both...) {
				return "", fmt.Errorf("a query gives %v", asked)
			}
			for _, found := range w.all()[seen:] {
				if len(found) != 2 || !keys(values(found), both...) {
					return "", fmt.Errorf("a callback gave %v", values(found))
				}
			}
			return took, nil
		})
	}
	step("cluster-deregister", func() (string, error) {
		if err := deregister(other, name, "10.3.1.2", 8002, true); err != nil {
			return "", err
		}
		return until(20, func() bool { return keys(w.last(), both[0]) })
	})
}

func hold(service, ip, text string) {
	port, _ := strconv.ParseUint(text, 10, 16)
	client := naming("")
	if err := register(client, service, ip, port, "1", true, "DEFAULT"); err != nil {
		panic(err)
	}
	select {}
}

func main() {
	switch os.Args[1] {
	case "standalone":
		standalone()
	case "cluster":
		cluster()
	case "hold":
		hold(os.Args[2], os.Args[3], os.Args[4])
	}
}
