// The requests of the configuration center that the test sends, as HTTP clients do, and what their answers mean.
package main

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
)

const (
	configs  = "/nacos/v1/cs/configs"
	listener = "/nacos/v1/cs/configs/listener"
	history  = "/nacos/v1/cs/history"
	group    = "LINEARIZABILITY"
	// Rows of one page of a history, the server's limit.
	historyPage = 500
)

// Longest wait for the answer to a request of a client: shorter than the server's own, so that outcomes stay unknown.
const requestTimeout = 3 * time.Second

// What the server's refusal of a write begins with that nobody took: it must have had no effect.
const nobodyTook = "no raft leader is known"

func dataID(key int) string { return fmt.Sprintf("key-%d", key) }

func identity(key int) url.Values {
	return url.Values{"dataId": {dataID(key)}, "group": {group}}
}

// The content of a value. Every eighth is too large to be in the state, and comes from the store of contents.
func content(value string) string {
	if value != "" && value[len(value)-1]%8 == 0 {
		return value + " " + strings.Repeat("x", 5000)
	}
	return value
}

func valueOf(content string) string {
	value, _, _ := strings.Cut(content, " ")
	return value
}

func md5of(value string) string {
	if value == absent {
		return ""
	}
	sum := md5.Sum([]byte(content(value)))
	return hex.EncodeToString(sum[:])
}

// Sends one request of the model.
func (c *conn) perform(in input) output {
	var got answer
	var err error
	query := identity(in.key)
	switch in.kind {
	case publish, casPublish:
		query.Set("content", content(in.value))
		query.Set("src_user", in.value)
		header := map[string]string{}
		if in.kind == casPublish {
			header["casMd5"] = md5of(in.over)
		}
		got, err = c.call("POST", configs, nil, query, header, requestTimeout)
	case remove:
		got, err = c.call("DELETE", configs, query, nil, nil, requestTimeout)
	case get:
		query.Set("consistent", "true")
		value, ok := c.read(query)
		if !ok {
			return output{outcome: unknown}
		}
		return output{value: value}
	}
	switch {
	case err == errRefused:
		return output{outcome: refused}
	case err != nil:
		return output{outcome: unknown}
	case got.status == 200 && strings.TrimSpace(got.body) == "true":
		return output{outcome: done}
	case strings.Contains(got.body, "Cas publish fail"):
		return output{outcome: mismatch}
	case strings.Contains(got.body, nobodyTook):
		return output{outcome: refused}
	}
	return output{outcome: unknown}
}

// A get; false without an answer that says what is there.
func (c *conn) read(query url.Values) (string, bool) {
	got, err := c.call("GET", configs, query, nil, nil, requestTimeout)
	switch {
	case err != nil:
		return "", false
	case got.status == 200:
		value := valueOf(got.body)
		if got.body != content(value) || got.header.Get("Content-MD5") != md5of(value) {
			return "torn:" + value, true
		}
		return value, true
	case got.status == 404 && strings.Contains(got.body, "config data not exist"):
		return absent, true
	}
	return "", false
}

// What this member has, perhaps not the newest.
func (c *conn) local(key int) (string, bool) { return c.read(identity(key)) }

// A long poll: which of the keys changed, perhaps none. `md5s` is what the listener has.
func (c *conn) poll(md5s []string, hold time.Duration) ([]int, bool) {
	var records strings.Builder
	for key, md5 := range md5s {
		fmt.Fprintf(&records, "%s\x02%s\x02%s\x01", dataID(key), group, md5)
	}
	form := url.Values{"Listening-Configs": {records.String()}}
	header := map[string]string{"Long-Pulling-Timeout": fmt.Sprint(hold.Milliseconds())}
	got, err := c.call("POST", listener, nil, form, header, hold+requestTimeout)
	if err != nil || got.status != 200 {
		return nil, false
	}
	text, err := url.QueryUnescape(strings.TrimSpace(got.body))
	if err != nil {
		return nil, false
	}
	var changed []int
	for _, record := range strings.Split(text, "\x01") {
		id, _, _ := strings.Cut(record, "\x02")
		var key int
		if n, _ := fmt.Sscanf(id, "key-%d", &key); n == 1 && key < len(md5s) {
			changed = append(changed, key)
		}
	}
	return changed, true
}

// A row of a history.
type row struct {
	ID     string `json:"id"`
	OpType string `json:"opType"`
	User   string `json:"srcUser"`
}

// The state that the write left.
func (r row) state() string {
	if strings.TrimSpace(r.OpType) == "D" {
		return absent
	}
	return r.User
}

// A page of the history of a key, newest first.
func (c *conn) history(key, page int) ([]row, bool) {
	query := identity(key)
	query.Set("search", "accurate")
	query.Set("pageNo", fmt.Sprint(page))
	query.Set("pageSize", fmt.Sprint(historyPage))
	got, err := c.call("GET", history, query, nil, nil, requestTimeout)
	if err != nil || got.status != 200 {
		return nil, false
	}
	var found struct {
		Items []row `json:"pageItems"`
	}
	if json.Unmarshal([]byte(got.body), &found) != nil {
		return nil, false
	}
	return found.Items, true
}
