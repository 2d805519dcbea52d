// Three members as processes on loopback, with a proxy before each cluster port.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	members = 3
	// Below Linux's range for outgoing connections, so that a member that is down keeps its ports.
	firstPort, portCount = 20000, 11000
	// Ten apart: the cluster port of one is not the SDK port of the next.
	portStep = 10
	// Above the HTTP port: SDK, cluster, the proxy before the cluster port.
	sdkPort, clusterPort, proxyPort = 1000, 1001, 1002
	readyMax                        = 60 * time.Second
	poll                            = 20 * time.Millisecond
)

type member struct {
	at, port int
	mutex    sync.Mutex
	process  *exec.Cmd
	ended    chan error
}

func (m *member) address() string { return fmt.Sprintf("127.0.0.1:%d", m.port) }

// Its process id, 0 while it is down.
func (m *member) pid() int {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.process == nil {
		return 0
	}
	return m.process.Process.Pid
}

type fleet struct {
	binary, directory string
	members           []*member
	net               *network
}

func newFleet(binary string) (*fleet, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	directory, err := os.MkdirTemp("", "dyad-linearizability-")
	if err != nil {
		return nil, err
	}
	token, err := exec.Command(binary, "token", "new").Output()
	if err != nil {
		return nil, fmt.Errorf("%s token new: %w", binary, err)
	}
	if err := os.WriteFile(filepath.Join(directory, "token"), token, 0o600); err != nil {
		return nil, err
	}
	f := &fleet{binary: binary, directory: directory}
	for step := 0; step < portCount && len(f.members) < members; step += portStep {
		port := firstPort + (os.Getpid()*portStep+step)%portCount
		if free(port) && free(port+sdkPort) && free(port+clusterPort) && free(port+proxyPort) {
			f.members = append(f.members, &member{at: len(f.members), port: port})
		}
	}
	if len(f.members) < members {
		return nil, errors.New("no free ports")
	}
	f.net, err = newNetwork(f.members)
	return f, err
}

func free(port int) bool {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err == nil {
		listener.Close()
	}
	return err == nil
}

func (f *fleet) data(at int) string { return filepath.Join(f.directory, fmt.Sprint(at+1)) }

func (f *fleet) start(at int) error {
	m := f.members[at]
	var list []string
	for _, other := range f.members {
		list = append(list, fmt.Sprintf("%s/%d", other.address(), other.port+proxyPort))
	}
	log, err := os.OpenFile(f.data(at)+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	command := exec.Command(f.binary, "server",
		"--port", fmt.Sprint(m.port), "--cluster-port", fmt.Sprint(m.port+clusterPort),
		"--members", strings.Join(list, ","), "--advertise", m.address(),
		"--cluster-token-file", filepath.Join(f.directory, "token"), "--data-dir", f.data(at))
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "DYAD_") && !strings.HasPrefix(variable, "NACOS_") && !strings.HasPrefix(variable, "MODE") {
			command.Env = append(command.Env, variable)
		}
	}
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	m.mutex.Lock()
	m.process, m.ended = command, ended
	m.mutex.Unlock()
	return nil
}

// Waits until a started member serves.
func (f *fleet) ready(at int) error {
	m := f.members[at]
	c := conn{address: m.address()}
	defer c.close()
	for began := time.Now(); time.Since(began) < readyMax; time.Sleep(poll) {
		got, err := c.call("GET", "/nacos/v1/console/health/readiness", nil, nil, nil, time.Second)
		if err == nil && got.status == 200 {
			return nil
		}
		select {
		case err := <-m.ended:
			return fmt.Errorf("member %d ended instead of getting ready: %v", at+1, err)
		default:
		}
	}
	return fmt.Errorf("member %d is not ready after %v", at+1, readyMax)
}

func (f *fleet) signal(at int, what syscall.Signal) error {
	if pid := f.members[at].pid(); pid != 0 {
		return syscall.Kill(pid, what)
	}
	return fmt.Errorf("member %d is not running", at+1)
}

// SIGKILL to all of them before any end is waited for.
func (f *fleet) kill(which ...int) error {
	for _, at := range which {
		if err := f.signal(at, syscall.SIGKILL); err != nil {
			return err
		}
	}
	for _, at := range which {
		m := f.members[at]
		<-m.ended
		m.mutex.Lock()
		m.process = nil
		m.mutex.Unlock()
	}
	return nil
}

// The member that says it leads, or any.
func (f *fleet) leader(otherwise int) int {
	for at := range f.members {
		// Its exit code is 1 while something is wrong with the cluster.
		text, _ := exec.Command(f.binary, "cluster", "status", "--output", "json", "--data-dir", f.data(at)).Output()
		var status struct {
			ID      string `json:"member_id"`
			Members []struct {
				ID   string `json:"member_id"`
				Role string `json:"role"`
			} `json:"members"`
		}
		if json.Unmarshal(text, &status) != nil {
			continue
		}
		for _, row := range status.Members {
			if row.ID == status.ID && strings.EqualFold(row.Role, "leader") {
				return at
			}
		}
	}
	return otherwise
}

// Ends what runs; data and logs stay only if they are wanted.
func (f *fleet) close(keep bool) {
	for at, m := range f.members {
		if m.pid() != 0 {
			f.signal(at, syscall.SIGCONT)
			f.kill(at)
		}
	}
	if keep {
		fmt.Println("logs and data:", f.directory)
		return
	}
	os.RemoveAll(f.directory)
}
