// SPDX-License-Identifier: Apache-2.0
// The peer Tokio.    peer-tokio BENCH N WORKERS      WORKERS 0: its runtime of one thread without stealing
// Each bench does what weft-bench's workload of that name does; the names are those of the lines it prints.
#[path = "../common.rs"]
mod common;
use common::*;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, Mutex};
use tokio::task::{spawn, yield_now, JoinHandle};
use tokio::time::{sleep, sleep_until, timeout};

type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

// One call spawned, the other awaited in place.
fn fib(n: usize) -> Later<u64> {
    if n < 2 {
        return Box::pin(std::future::ready(n as u64));
    }
    Box::pin(async move {
        let a = spawn(fib(n - 1));
        let b = if n < 4 { (n - 2) as u64 } else { fib(n - 2).await };
        a.await.unwrap() + b
    })
}

fn skynet(first: u64, size: u64) -> Later<u64> {
    Box::pin(async move {
        if size == 1 {
            return first;
        }
        let part = size / 10;
        let children: Vec<JoinHandle<u64>> = (0..10).map(|i| spawn(skynet(first + i * part, part))).collect();
        let mut sum = 0;
        for child in children {
            sum += child.await.unwrap();
        }
        sum
    })
}

async fn spawn_join(n: usize) -> u64 {
    let mut sum = 0;
    for i in 0..n {
        sum += spawn(async move { i as u64 }).await.unwrap();
    }
    sum
}

async fn spawn_many(n: usize) -> u64 {
    let mut tasks = Vec::with_capacity(n);
    for i in 0..n {
        tasks.push(spawn(async move { i as u64 }));
    }
    let mut sum = 0;
    for task in tasks {
        sum += task.await.unwrap();
    }
    sum
}

async fn all<T: Send + 'static>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

async fn yields(tasks: usize, times: usize) -> usize {
    let run = (0..tasks).map(|_| {
        spawn(async move {
            for _ in 0..times {
                yield_now().await;
            }
            times
        })
    });
    let run = run.collect();
    all(run).await.iter().sum()
}

// spawned, joined `width` at a time
async fn gathers(rounds: usize, width: usize) -> u64 {
    let mut sum = 0;
    for _ in 0..rounds {
        let children = (0..width).map(|i| spawn(async move { i as u64 })).collect();
        sum += all(children).await.iter().sum::<u64>();
    }
    sum
}

async fn ping_pong(n: usize, limit: Option<Duration>) -> usize {
    let (to, mut server) = mpsc::channel::<usize>(1);
    let (from, mut client) = mpsc::channel::<usize>(1);
    let serve = spawn(async move {
        while let Some(v) = server.recv().await {
            from.send(v + 1).await.unwrap();
        }
    });
    let ask = spawn(async move {
        let mut v = 0;
        for _ in 0..n {
            to.send(v).await.unwrap();
            let answer = client.recv();
            v = match limit {
                Some(limit) => timeout(limit, answer).await.unwrap().unwrap(),
                None => answer.await.unwrap(),
            };
        }
        v
    });
    let v = ask.await.unwrap();
    serve.await.unwrap();
    v
}

async fn mpmc(n: usize) -> (u64, usize) {
    let (tx, rx) = async_channel::bounded::<u64>(1024);
    let producers = (0..4usize)
        .map(|first| {
            let tx = tx.clone();
            spawn(async move {
                for i in (first..n).step_by(4) {
                    tx.send(i as u64).await.unwrap();
                }
            })
        })
        .collect();
    drop(tx);
    let consumers = (0..4)
        .map(|_| {
            let rx = rx.clone();
            spawn(async move {
                let mut got = (0, 0);
                while let Ok(v) = rx.recv().await {
                    got = (got.0 + v, got.1 + 1);
                }
                got
            })
        })
        .collect();
    all(producers).await;
    all(consumers).await.iter().fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
}

async fn mutex(tasks: usize, times: usize, suspend: bool) -> usize {
    let value = Arc::new(Mutex::new(0usize));
    let run = (0..tasks)
        .map(|_| {
            let value = value.clone();
            spawn(async move {
                for _ in 0..times {
                    let mut held = value.lock().await;
                    if suspend {
                        yield_now().await;
                    }
                    *held += 1;
                }
            })
        })
        .collect();
    all(run).await;
    let value = value.lock().await;
    *value
}

async fn cancel(n: usize, workers: usize) {
    let started = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let tasks: Vec<_> = (0..n)
        .map(|_| {
            let started = started.clone();
            spawn(async move {
                started.fetch_add(1, SeqCst);
                sleep(Duration::from_secs(3600)).await;
            })
        })
        .collect();
    while started.load(SeqCst) < n {
        yield_now().await;
    }
    let created = begin.elapsed().as_secs_f64();
    sleep(Duration::from_millis(200)).await;
    let begin = Instant::now();
    for task in &tasks {
        task.abort();
    }
    for task in tasks {
        assert!(task.await.unwrap_err().is_cancelled());
    }
    let s = begin.elapsed().as_secs_f64();
    figure("cancel", n, workers, s, s * 1e9 / n as f64);
    figure("cancel_create", n, workers, s, created * 1e9 / n as f64);
}

async fn timer_churn(n: usize, workers: usize) {
    const SLEEPS: usize = 20;
    let pause = Duration::from_millis(1);
    let begin = Instant::now();
    let tasks = (0..n)
        .map(|_| {
            spawn(async move {
                let mut late = [0u64; SLEEPS];
                for one in late.iter_mut() {
                    let start = Instant::now();
                    sleep(pause).await;
                    *one = start.elapsed().checked_sub(pause).expect("woke early").as_nanos() as u64;
                }
                late
            })
        })
        .collect();
    let late = all(tasks).await;
    let s = begin.elapsed().as_secs_f64();
    let mut late: Vec<u64> = late.into_iter().flatten().collect();
    late.sort_unstable();
    figure("timer_churn", n, workers, s, s * 1e9 / (n * SLEEPS) as f64);
    figure("timer_churn_p99", n, workers, s, late[late.len() * 99 / 100] as f64);
}

// As weft's: the second round has the memory of the first.
async fn sleep_mem(n: usize, workers: usize) {
    let mut room = Duration::from_millis(500) + Duration::from_micros(8) * n as u32;
    let mut tasks = Vec::with_capacity(n);
    for round in 0..2 {
        let before = status("VmRSS:");
        let begin = Instant::now();
        let until = begin + room;
        let counts = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false)));
        let moments = Arc::new((StdMutex::new(begin), StdMutex::new(begin)));
        for _ in 0..n {
            let (counts, moments) = (counts.clone(), moments.clone());
            tasks.push(spawn(async move {
                if counts.0.fetch_add(1, SeqCst) + 1 == n {
                    *moments.0.lock().unwrap() = Instant::now();
                }
                sleep_until(until.into()).await;
                let now = Instant::now();
                if now < until {
                    counts.2.store(true, SeqCst);
                }
                if counts.1.fetch_add(1, SeqCst) + 1 == n {
                    *moments.1.lock().unwrap() = now;
                }
            }));
        }
        while counts.0.load(SeqCst) < n {
            yield_now().await;
        }
        let bytes = (status("VmRSS:") - before) as f64 * 1024.0 / n as f64;
        all(std::mem::take(&mut tasks)).await;
        let (asleep, awake) = (*moments.0.lock().unwrap(), *moments.1.lock().unwrap());
        assert!(asleep < until && !counts.2.load(SeqCst));
        let created = (asleep - begin).as_secs_f64();
        let woken = (awake - until).as_secs_f64() * 1e9 / n as f64;
        let mark = ["", "_warm"][round];
        figure(&format!("sleep_mem_create{mark}"), n, workers, created, created * 1e9 / n as f64);
        figure(&format!("sleep_mem_wake{mark}"), n, workers, created, woken);
        if round == 0 {
            figure("sleep_mem_bytes", n, workers, created, bytes);
        }
        room = Duration::from_millis(500) + Duration::from_secs_f64(created) * 2;
    }
}

async fn run(name: String, n: usize, workers: usize) {
    // name, operations, a warm-up, what is timed: each with the result it must have
    macro_rules! row {
        ($operations:expr, $warm:expr => $warm_result:expr, $timed:expr => $result:expr) => {{
            assert_eq!($warm.await, $warm_result);
            let begin = Instant::now();
            let result = $timed.await;
            let s = begin.elapsed().as_secs_f64();
            assert_eq!(result, $result);
            figure(&name, n, workers, s, s * 1e9 / ($operations) as f64);
        }};
    }
    let second = Some(Duration::from_secs(1));
    match name.as_str() {
        "fib_task" => row!(forks(n), fib(16) => fib_of(16), fib(n) => fib_of(n)),
        "skynet_task" => {
            row!(n as f64 * 10.0 / 9.0, skynet(0, 1000) => triangle(1000), skynet(0, n as u64) => triangle(n))
        }
        "spawn_join" => row!(n, spawn_join(n / 10) => triangle(n / 10), spawn_join(n) => triangle(n)),
        "spawn_many" => {
            for pass in ["spawn_many_cold", "spawn_many"] {
                let begin = Instant::now();
                assert_eq!(spawn_many(n).await, triangle(n));
                let s = begin.elapsed().as_secs_f64();
                figure(pass, n, workers, s, s * 1e9 / n as f64);
            }
        }
        "gather_early" => {
            row!(n / 10 * 10, gathers(n / 100, 10) => n as u64 / 100 * 45, gathers(n / 10, 10) => n as u64 / 10 * 45)
        }
        "yield" => row!(n * 1000, yields(n, 20) => n * 20, yields(n, 1000) => n * 1000),
        "ping_pong" => row!(n, ping_pong(n / 10, None) => n / 10, ping_pong(n, None) => n),
        "timeout_pend" => row!(n, ping_pong(n / 10, second) => n / 10, ping_pong(n, second) => n),
        "mpmc" => row!(n, mpmc(n / 10) => (triangle(n / 10), n / 10), mpmc(n) => (triangle(n), n)),
        "mutex" => row!(n * 1000, mutex(n, 100, false) => n * 100, mutex(n, 1000, false) => n * 1000),
        "mutex_suspend" => row!(n * 100, mutex(n, 10, true) => n * 10, mutex(n, 100, true) => n * 100),
        "timeout_ready" => {
            async fn ready(n: usize) -> usize {
                let mut good = 0;
                for _ in 0..n {
                    good += timeout(Duration::from_secs(1), std::future::ready(1)).await.unwrap();
                }
                good
            }
            row!(n, ready(n / 10) => n / 10, ready(n) => n)
        }
        "cancel" => cancel(n, workers).await,
        "timer_churn" => timer_churn(n, workers).await,
        "sleep_mem" => sleep_mem(n, workers).await,
        _ => std::process::exit(3),
    }
}

fn main() {
    let a: Vec<String> = std::env::args().collect();
    let (name, n, workers) = (a[1].clone(), a[2].parse().unwrap(), a[3].parse().unwrap());
    let runtime = match workers {
        0 => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        _ => tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build(),
    };
    runtime.unwrap().block_on(async { spawn(run(name, n, workers)).await.unwrap() });
}
