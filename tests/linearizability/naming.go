// The requests about instances that the test sends, over HTTP and as SDKs do over gRPC, and what their answers mean.
package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

const (
	instancePath = "/nacos/v1/ns/instance"
	listPath     = "/nacos/v1/ns/instance/list"
	service      = "linearizability"
	// Ports at which nobody listens: the members probe persistent instances, and find all of these unhealthy.
	hostIP, firstHost = "127.0.0.1", 1
	// The metadata that carry the tags.
	registeredBy, setBy = "reg", "put"
)

func portOf(instance int) int { return firstHost + instance }

func metadata(d demand) map[string]string {
	if d.deed == override {
		return map[string]string{setBy: d.tag}
	}
	return map[string]string{registeredBy: d.tag}
}

func naming(instance int) url.Values {
	return url.Values{
		"serviceName": {service}, "ephemeral": {"false"}, "ip": {hostIP}, "port": {fmt.Sprint(portOf(instance))},
	}
}

// Sends one request of the model over HTTP.
func (c *conn) demand(d demand) reply {
	query, method := naming(d.instance), map[deed]string{register: "POST", deregister: "DELETE", override: "PUT"}[d.deed]
	if d.deed == list {
		shown, ok := c.list(d.instance, true)
		if !ok {
			return reply{outcome: unknown}
		}
		return reply{shown: shown}
	}
	if d.deed != deregister {
		text, _ := json.Marshal(metadata(d))
		query.Set("metadata", string(text))
		query.Set("weight", fmt.Sprint(weight(d.tag)))
		query.Set("enabled", fmt.Sprint(enabled(d.tag)))
	}
	got, err := c.call(method, instancePath, query, nil, nil, requestTimeout)
	switch {
	case err == errRefused:
		return reply{outcome: refused}
	case err != nil:
		return reply{outcome: unknown}
	case got.status == 200 && strings.TrimSpace(got.body) == "ok":
		return reply{outcome: done}
	// Refused by what the asked member knows, before anything was proposed.
	case got.status >= 400 && got.status < 500, strings.Contains(got.body, nobodyTook):
		return reply{outcome: refused}
	}
	return reply{outcome: unknown}
}

// What a list shows of an instance; false without an answer.
func (c *conn) list(at int, consistent bool) (entry, bool) {
	query := url.Values{"serviceName": {service}}
	if consistent {
		query.Set("consistent", "true")
	}
	got, err := c.call("GET", listPath, query, nil, nil, requestTimeout)
	if err != nil || got.status != 200 {
		return entry{}, false
	}
	return shownIn(got.body, at)
}

// What the JSON of a list shows of an instance. What cannot be is marked, so that no state has it.
func shownIn(body string, of int) (shown entry, ok bool) {
	var found struct {
		Hosts []struct {
			IP       string            `json:"ip"`
			Port     int               `json:"port"`
			Weight   float64           `json:"weight"`
			Enabled  bool              `json:"enabled"`
			Metadata map[string]string `json:"metadata"`
		} `json:"hosts"`
	}
	if json.Unmarshal([]byte(body), &found) != nil {
		return entry{}, false
	}
	for _, host := range found.Hosts {
		if host.IP != hostIP || host.Port != portOf(of) {
			continue
		}
		seen := entry{registered: host.Metadata[registeredBy], set: host.Metadata[setBy]}
		if host.Weight != weight(seen.inForce()) || !host.Enabled {
			seen.registered = "torn:" + seen.registered
		}
		if shown != (entry{}) {
			seen.registered = "twice:" + seen.registered
		}
		shown = seen
	}
	return shown, true
}

// Sends a registration or a deregistration over gRPC (`PersistentInstanceRequest`).
func (s *sdk) demand(d demand) reply {
	kind := map[deed]string{register: "registerInstance", deregister: "deregisterInstance"}[d.deed]
	body := map[string]any{
		"type": kind, "namespace": "public", "groupName": "DEFAULT_GROUP", "serviceName": service, "module": "naming",
		"instance": map[string]any{
			"ip": hostIP, "port": portOf(d.instance), "weight": weight(d.tag), "enabled": enabled(d.tag), "healthy": true,
			"ephemeral": false, "metadata": metadata(d),
		},
	}
	answered, err := s.request("PersistentInstanceRequest", body)
	switch {
	case err == errRefused:
		return reply{outcome: refused}
	case err != nil:
		return reply{outcome: unknown}
	case answered.Success && answered.ResultCode == 200:
		return reply{outcome: done}
	case answered.ErrorCode >= 300 && answered.ErrorCode < 500, strings.Contains(answered.Message, nobodyTook):
		return reply{outcome: refused}
	}
	return reply{outcome: unknown}
}
