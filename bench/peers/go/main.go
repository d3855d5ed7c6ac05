// SPDX-License-Identifier: Apache-2.0

// The peer Go: a goroutine for each task.
//
//	peer-go BENCH N WORKERS
//
// Each bench does what weft-bench's workload of that name does; results come back through a captured variable and a WaitGroup,
// or through a channel.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var workers int

func figure(name string, n int, took time.Duration, value float64) {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	rate := 0.0
	if value > 0 {
		rate = 1e9 / value
	}
	fmt.Printf("%s,%d,%d,%.6f,%.3f,%.0f,%d\n", name, n, workers, took.Seconds(), value, rate, u.Maxrss)
}

func check(right bool, what string) {
	if !right {
		fmt.Fprintln(os.Stderr, "check failed:", what)
		os.Exit(2)
	}
}

func timed(work func()) time.Duration {
	runtime.GC()
	start := time.Now()
	work()
	return time.Since(start)
}

// row warms up, then times and prints.
func row(name string, n int, operations float64, warm, work func()) {
	warm()
	took := timed(work)
	figure(name, n, took, float64(took.Nanoseconds())/operations)
}

// all runs body(0) to body(n-1), each in a goroutine of its own, and waits for them.
func all(n int, body func(i int)) {
	var wait sync.WaitGroup
	wait.Add(n)
	for i := 0; i < n; i++ {
		go func(i int) {
			body(i)
			wait.Done()
		}(i)
	}
	wait.Wait()
}

func fibOf(n int) int {
	a, b := 0, 1
	for ; n > 0; n-- {
		a, b = b, a+b
	}
	return a
}

func triangle(n int) int { return n * (n - 1) / 2 }

func fib(n int) int {
	if n < 2 {
		return n
	}
	var a int
	var wait sync.WaitGroup
	wait.Add(1)
	go func() {
		a = fib(n - 1)
		wait.Done()
	}()
	b := fib(n - 2)
	wait.Wait()
	return a + b
}

func skynet(result chan<- int, first, size int) {
	if size == 1 {
		result <- first
		return
	}
	parts, sum := make(chan int, 10), 0
	for i := 0; i < 10; i++ {
		go skynet(parts, first+i*(size/10), size/10)
	}
	for i := 0; i < 10; i++ {
		sum += <-parts
	}
	result <- sum
}

func skynetSum(size int) int {
	result := make(chan int, 1)
	go skynet(result, 0, size)
	return <-result
}

func spawnJoin(n int) {
	result, sum := make(chan int, 1), 0
	for i := 0; i < n; i++ {
		go func(i int) { result <- i }(i)
		sum += <-result
	}
	check(sum == triangle(n), "spawn_join")
}

func spawnMany(n int) {
	values, sum := make([]int32, n), 0
	all(n, func(i int) { values[i] = int32(i) })
	for _, v := range values {
		sum += int(v)
	}
	check(sum == triangle(n), "spawn_many")
}

func yields(tasks, times int) {
	var total int64
	all(tasks, func(int) {
		for i := 0; i < times; i++ {
			runtime.Gosched()
		}
		atomic.AddInt64(&total, int64(times))
	})
	check(total == int64(tasks*times), "yield")
}

func pingPong(n int, limited bool) {
	to, from, end := make(chan int, 1), make(chan int, 1), make(chan int)
	go func() {
		for v := range to {
			from <- v + 1
		}
		close(from)
	}()
	go func() {
		v := 0
		for i := 0; i < n; i++ {
			to <- v
			if !limited {
				v = <-from
				continue
			}
			limit := time.NewTimer(time.Second)
			select {
			case v = <-from:
			case <-limit.C:
				check(false, "timeout_pend: time over")
			}
			limit.Stop()
		}
		close(to)
		end <- v
	}()
	check(<-end == n, "ping_pong")
}

func mpmc(n int) {
	const ends = 4
	queue := make(chan int, 1024)
	var sum, count int64
	var consumers sync.WaitGroup
	consumers.Add(1)
	go func() {
		all(ends, func(int) {
			s, k := 0, 0
			for v := range queue {
				s += v
				k++
			}
			atomic.AddInt64(&sum, int64(s))
			atomic.AddInt64(&count, int64(k))
		})
		consumers.Done()
	}()
	all(ends, func(first int) {
		for i := first; i < n; i += ends {
			queue <- i
		}
	})
	close(queue)
	consumers.Wait()
	check(sum == int64(triangle(n)) && count == int64(n), "mpmc")
}

func mutex(tasks, times int, suspend bool) {
	var lock sync.Mutex
	value := 0
	all(tasks, func(int) {
		for i := 0; i < times; i++ {
			lock.Lock()
			seen := value
			if suspend {
				runtime.Gosched()
			}
			value = seen + 1
			lock.Unlock()
		}
	})
	check(value == tasks*times, "mutex")
}

func timeoutReady(n int) {
	ready, good := make(chan struct{}), 0
	close(ready)
	for i := 0; i < n; i++ {
		limit := time.NewTimer(time.Second)
		select {
		case <-ready:
			good++
		case <-limit.C:
		}
		limit.Stop()
	}
	check(good == n, "timeout_ready")
}

func cancel(n int) {
	var started, cancelled int64
	var wait sync.WaitGroup
	wait.Add(n)
	cancels := make([]context.CancelFunc, n)
	begin := time.Now()
	for i := range cancels {
		var ctx context.Context
		ctx, cancels[i] = context.WithCancel(context.Background())
		go func() {
			hour := time.NewTimer(time.Hour)
			atomic.AddInt64(&started, 1)
			select {
			case <-ctx.Done():
				hour.Stop()
				atomic.AddInt64(&cancelled, 1)
			case <-hour.C:
			}
			wait.Done()
		}()
	}
	for atomic.LoadInt64(&started) < int64(n) {
		runtime.Gosched()
	}
	created := time.Since(begin)
	time.Sleep(200 * time.Millisecond)
	begin = time.Now()
	for _, c := range cancels {
		c()
	}
	wait.Wait()
	took := time.Since(begin)
	check(cancelled == int64(n), "cancel")
	figure("cancel", n, took, float64(took.Nanoseconds())/float64(n))
	figure("cancel_create", n, took, float64(created.Nanoseconds())/float64(n))
}

func timerChurn(n int) {
	const sleeps = 20
	late := make([]time.Duration, n*sleeps)
	begin := time.Now()
	all(n, func(i int) {
		for j := 0; j < sleeps; j++ {
			start := time.Now()
			time.Sleep(time.Millisecond)
			late[i*sleeps+j] = time.Since(start) - time.Millisecond
		}
	})
	took := time.Since(begin)
	sort.Slice(late, func(a, b int) bool { return late[a] < late[b] })
	check(late[0] >= 0, "timer_churn: woke early")
	figure("timer_churn", n, took, float64(took.Nanoseconds())/float64(n*sleeps))
	figure("timer_churn_p99", n, took, float64(late[len(late)*99/100].Nanoseconds()))
}

func main() {
	name := os.Args[1]
	n, _ := strconv.Atoi(os.Args[2])
	workers, _ = strconv.Atoi(os.Args[3])
	runtime.GOMAXPROCS(workers)
	size := float64(n)
	switch name {
	case "fib_task":
		row(name, n, float64(fibOf(n+1)-1), func() { fib(16) }, func() { check(fib(n) == fibOf(n), name) })
	case "skynet_task":
		row(name, n, size*10/9, func() { skynetSum(1000) }, func() { check(skynetSum(n) == triangle(n), name) })
	case "spawn_join":
		row(name, n, size, func() { spawnJoin(n / 10) }, func() { spawnJoin(n) })
	case "spawn_many":
		for _, pass := range []string{"spawn_many_cold", name} {
			row(pass, n, size, func() {}, func() { spawnMany(n) })
		}
	case "yield":
		row(name, n, size*1000, func() { yields(n, 20) }, func() { yields(n, 1000) })
	case "ping_pong", "timeout_pend":
		limited := name == "timeout_pend"
		row(name, n, size, func() { pingPong(n/10, limited) }, func() { pingPong(n, limited) })
	case "mpmc":
		row(name, n, size, func() { mpmc(n / 10) }, func() { mpmc(n) })
	case "mutex":
		row(name, n, size*1000, func() { mutex(n, 100, false) }, func() { mutex(n, 1000, false) })
	case "mutex_suspend":
		row(name, n, size*100, func() { mutex(n, 10, true) }, func() { mutex(n, 100, true) })
	case "timeout_ready":
		row(name, n, size, func() { timeoutReady(n / 10) }, func() { timeoutReady(n) })
	case "cancel":
		cancel(n)
	case "timer_churn":
		timerChurn(n)
	default:
		os.Exit(3)
	}
}
