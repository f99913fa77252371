// redigo: every step, with Do, Send and PubSubConn; the reconnect through a pool, as its users do.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

const body, meta = `{"id":1}`, "201"

func expect(condition bool, what ...interface{}) {
	if !condition {
		panic(fmt.Sprint(what...))
	}
}

func step(name string, run func()) {
	defer func() {
		if why := recover(); why != nil {
			fmt.Printf("not ok %s %q\n", name, fmt.Sprint(why))
			os.Exit(1)
		}
		fmt.Println("ok", name)
	}()
	run()
}

func await(what string, condition func() bool) {
	for deadline := time.Now().Add(60 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		expect(time.Now().Before(deadline), what, " did not come")
	}
}

func dial() (redis.Conn, error) {
	return redis.Dial("tcp", os.Getenv("IDEM_HOST")+":"+os.Getenv("IDEM_PORT"),
		redis.DialClientName("redigo"), redis.DialConnectTimeout(60*time.Second),
		redis.DialReadTimeout(120*time.Second))
}

func do(c redis.Conn, command string, args ...interface{}) interface{} {
	reply, err := c.Do(command, args...)
	expect(err == nil, command, ": ", err)
	return reply
}

func text(reply interface{}) string {
	value, err := redis.String(reply, nil)
	expect(err == nil, reply, err)
	return value
}

func number(reply interface{}) int64 {
	value, err := redis.Int64(reply, nil)
	expect(err == nil, reply, err)
	return value
}

func array(reply interface{}) []interface{} {
	values, err := redis.Values(reply, nil)
	expect(err == nil, reply, err)
	return values
}

func expectDone(reply interface{}) {
	v := array(reply)
	expect(text(v[0]) == "DONE" && text(v[1]) == body && text(v[2]) == meta, v)
	expect(number(v[4]) > 0 && number(v[4]) <= 60000, v)
}

func refused(c redis.Conn, code, command string, args ...interface{}) {
	reply, err := c.Do(command, args...)
	_, isError := err.(redis.Error)
	expect(isError && strings.Contains(err.Error(), code), code, " expected, got ", reply, err)
}

func claim(c redis.Conn, args ...interface{}) int64 {
	v := array(do(c, "IDEM.CLAIM", args...))
	expect(text(v[0]) == "CLAIMED" && number(v[3]) == 1 && v[4] == nil, v)
	return number(v[1])
}

func main() {
	alive := func(c redis.Conn, idle time.Time) error {
		_, err := c.Do("PING")
		return err
	}
	pool := &redis.Pool{Dial: dial, MaxIdle: 4, TestOnBorrow: alive}
	first, second := pool.Get(), pool.Get()
	var token int64
	waited := make(chan interface{}, 1)

	step("connect", func() {
		expect(text(do(first, "PING")) == "PONG" && text(do(second, "PING")) == "PONG", "PING")
	})
	step("name", func() {
		expect(text(do(first, "CLIENT", "GETNAME")) == "redigo", "the name given at connect")
	})
	step("claim", func() {
		v := array(do(first, "IDEM.CLAIM", "order-1", "FP", "fp-1", "OWNER", "call-1", "LEASE", 600000))
		expect(text(v[0]) == "CLAIMED" && number(v[2]) == 600000 && number(v[3]) == 1 && v[4] == nil, v)
		token = number(v[1])
	})
	step("duplicate", func() {
		v := array(do(first, "IDEM.CLAIM", "order-1", "FP", "fp-1", "OWNER", "call-2"))
		expect(len(v) == 5 && text(v[0]) == "BUSY" && number(v[1]) > 0 && number(v[1]) <= 600000 &&
			text(v[3]) == "call-1", v)
	})
	go func() {
		reply, err := second.Do("IDEM.CLAIM", "order-1", "FP", "fp-1", "WAIT", 50000)
		if err != nil {
			reply = err
		}
		waited <- reply
	}()
	step("store", func() {
		await("a waiting connection", func() bool {
			return strings.Contains(text(do(first, "INFO", "clients")), "blocked_clients:1\r\n")
		})
		expect(number(do(first, "IDEM.STORE", "order-1", token, body, "TTL", 60000, "META", meta)) == 1,
			"one waiting caller")
	})
	step("wait", func() { expectDone(<-waited) })
	step("replay", func() {
		expectDone(do(first, "IDEM.CLAIM", "order-1", "FP", "fp-1"))
		expectDone(do(first, "IDEM.FETCH", "order-1"))
	})
	step("binary", func() {
		key, blob := []byte("bin\r\n\x00\xff key"), []byte{}
		for i := 0; i < 256; i++ {
			blob = append(blob, byte(i))
		}
		blob = append(blob, "\r\n\x00\r\n$5\r\n"...)
		expect(number(do(first, "IDEM.STORE", key, claim(first, key), blob)) == 0, "STORE")
		back, err := redis.Bytes(array(do(first, "IDEM.FETCH", key))[1], nil)
		expect(err == nil && bytes.Equal(back, blob), "the body came back changed")
	})
	step("refusal", func() {
		refused(first, "MISMATCH", "IDEM.CLAIM", "order-1", "FP", "fp-2")
		refused(first, "STALE", "IDEM.STORE", "order-1", token-1, "x")
		refused(first, "unknown command", "LPUSH", "a", "b")
	})
	step("null", func() { expect(do(first, "IDEM.FETCH", "nobody") == nil, "FETCH of nothing") })
	step("strings", func() {
		expect(text(do(first, "SET", "lock", "mine", "NX", "PX", 600000)) == "OK", "SET NX PX")
		expect(do(first, "SET", "lock", "yours", "NX", "PX", 600000) == nil, "a second SET NX")
		expect(text(do(first, "GET", "lock")) == "mine" && number(do(first, "PTTL", "lock")) > 0,
			"GET, PTTL")
		expect(number(do(first, "DEL", "lock")) == 1 && number(do(first, "EXISTS", "lock")) == 0,
			"DEL, EXISTS")
	})
	step("transaction", func() {
		first.Send("MULTI")
		first.Send("SET", "t", "1")
		first.Send("GET", "t")
		v := array(do(first, "EXEC"))
		expect(len(v) == 2 && text(v[0]) == "OK" && text(v[1]) == "1", v)
	})
	step("pubsub", func() { pubsub(pool, first) })
	step("pipeline", func() { pipeline(first) })
	step("reconnect", func() {
		first.Close()
		second.Close()
		fmt.Println("restart")
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		expect(line == "restarted\n", "the server was not restarted")
		again := pool.Get()
		expect(claim(again, "order-1") > token, "the token did not rise")
		again.Close()
	})
}

func pubsub(pool *redis.Pool, first redis.Conn) {
	const channel = "__idem__:order-2"
	listener := redis.PubSubConn{Conn: pool.Get()}
	defer listener.Close()
	expect(listener.Subscribe(channel) == nil, "SUBSCRIBE")
	await("a listener", func() bool {
		return number(array(do(first, "PUBSUB", "NUMSUB", channel))[1]) == 1
	})
	do(first, "IDEM.STORE", "order-2", claim(first, "order-2"), body)
	for {
		switch seen := listener.ReceiveWithTimeout(60 * time.Second).(type) {
		case redis.Message:
			expect(seen.Channel == channel && string(seen.Data) == "done", seen)
			return
		case error:
			panic(seen)
		}
	}
}

func pipeline(c redis.Conn) {
	const many = 200
	tokens, stored := []int64{0}, []interface{}{}
	for i := 0; i < many; i++ {
		c.Send("IDEM.CLAIM", fmt.Sprint("many-", i))
	}
	for _, reply := range array(do(c, "")) {
		token := number(array(reply)[1])
		expect(token > tokens[len(tokens)-1], "tokens rise")
		tokens = append(tokens, token)
	}
	expect(len(tokens) == many+1, len(tokens))
	for i := 0; i < many; i++ {
		c.Send("IDEM.STORE", fmt.Sprint("many-", i), tokens[i+1], i)
		stored = append(stored, int64(0))
	}
	expect(reflect.DeepEqual(array(do(c, "")), stored), "STORE in a pipeline")
}
