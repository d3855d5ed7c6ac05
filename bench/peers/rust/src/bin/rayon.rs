// SPDX-License-Identifier: Apache-2.0
// The peer Rayon: fork-join whose tasks cannot suspend.
//     peer-rayon fib|fib_gather|skynet|spawn_many|nqueens|matmul|quicksort|uts N WORKERS
#[path = "../common.rs"]
mod common;
use common::*;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

fn fib(n: usize) -> u64 {
    if n < 2 {
        return n as u64;
    }
    let (a, b) = rayon::join(|| fib(n - 2), || fib(n - 1));
    a + b
}

fn skynet(first: u64, size: u64) -> u64 {
    if size == 1 {
        return first;
    }
    let mut sums = [0; 10];
    rayon::scope(|s| {
        for (i, sum) in sums.iter_mut().enumerate() {
            s.spawn(move |_| *sum = skynet(first + i as u64 * (size / 10), size / 10));
        }
    });
    sums.iter().sum()
}

fn spawn_many(n: usize) -> u64 {
    let sum = AtomicU64::new(0);
    rayon::scope(|s| {
        for i in 0..n {
            let sum = &sum;
            s.spawn(move |_| {
                sum.fetch_add(i as u64, Relaxed);
            });
        }
    });
    sum.into_inner()
}

fn queens(row: u32, all: u32, columns: u32, left: u32, right: u32) -> i64 {
    if row == QUEENS_FORKED_ROWS || columns == all {
        return unsafe { kernel_queens(all, columns, left, right) };
    }
    place(row, all, columns, left, right, all & !(columns | left | right))
}
// The first of the open columns beside the others.
fn place(row: u32, all: u32, columns: u32, left: u32, right: u32, open: u32) -> i64 {
    let bit = open & open.wrapping_neg();
    let one = || queens(row + 1, all, columns | bit, (left | bit) << 1, (right | bit) >> 1);
    match open & open.wrapping_sub(1) {
        _ if open == 0 => 0,
        0 => one(),
        rest => {
            let (a, b) = rayon::join(one, || place(row, all, columns, left, right, rest));
            a + b
        }
    }
}

// Where the result and the two factors begin.
#[derive(Clone, Copy)]
struct Blocks(*mut f64, *const f64, *const f64);
unsafe impl Send for Blocks {}
unsafe impl Sync for Blocks {}

impl Blocks {
    // The quarter i of the result, its summand k; h is half the side.
    fn quarter(self, stride: i64, h: i64, k: i64, i: i64) -> Blocks {
        let (row, column) = ((i / 2) * h, (i % 2) * h);
        unsafe {
            Blocks(
                self.0.offset((row * stride + column) as isize),
                self.1.offset((row * stride + k * h) as isize),
                self.2.offset((k * h * stride + column) as isize),
            )
        }
    }
    fn product(self, stride: i64, n: i64) {
        if n <= MATMUL_BLOCK {
            return unsafe { kernel_matmul(self.0, self.1, self.2, stride, n) };
        }
        for k in 0..2 {
            let part = |i| self.quarter(stride, n / 2, k, i);
            let (a, b, c, d) = (part(0), part(1), part(2), part(3));
            let multiply = |at: Blocks| at.product(stride, n / 2);
            rayon::join(
                || rayon::join(|| multiply(a), || multiply(b)),
                || rayon::join(|| multiply(c), || multiply(d)),
            );
        }
    }
}

fn sort(v: &mut [i32]) {
    let n = v.len() as i64;
    if n <= SORT_BLOCK {
        return unsafe { kernel_sort(v.as_mut_ptr(), n) };
    }
    let left = unsafe { kernel_partition(v.as_mut_ptr(), n) };
    let (a, b) = v.split_at_mut(left as usize);
    rayon::join(|| sort(a), || sort(b));
}

// The children first to last - 1 of a node, halved until they are one.
fn nodes(parent: u64, first: i32, last: i32, level: i32, limit: i32) -> i64 {
    if last - first == 1 {
        let node = unsafe { kernel_tree_child(parent, first) };
        let children = unsafe { kernel_tree_children(node, level, limit) };
        return 1 + if children == 0 { 0 } else { halves(node, 0, children, level + 1, limit) };
    }
    halves(parent, first, last, level, limit)
}
fn halves(parent: u64, first: i32, last: i32, level: i32, limit: i32) -> i64 {
    let half = first + (last - first + 1) / 2;
    if half == last {
        return nodes(parent, first, last, level, limit);
    }
    let (a, b) = rayon::join(
        || nodes(parent, first, half, level, limit),
        || nodes(parent, half, last, level, limit),
    );
    a + b
}

fn run(name: &str, n: usize, workers: usize) {
    let show = |seconds: f64, operations: f64| figure(name, n, workers, seconds, seconds * 1e9 / operations);
    match name {
        "fib" | "fib_gather" => {
            fib(20);
            let (result, s) = timed(|| fib(n));
            assert_eq!(result, fib_of(n));
            show(s, forks(n));
        }
        "skynet" => {
            skynet(0, 1000);
            let (sum, s) = timed(|| skynet(0, n as u64));
            assert_eq!(sum, triangle(n));
            show(s, n as f64 * 10.0 / 9.0);
        }
        "spawn_many" => {
            for pass in ["spawn_many_cold", "spawn_many"] {
                let (sum, s) = timed(|| spawn_many(n));
                assert_eq!(sum, triangle(n));
                figure(pass, n, workers, s, s * 1e9 / n as f64);
            }
        }
        "nqueens" => {
            let all = (1u32 << n) - 1;
            queens(0, all >> 3, 0, 0, 0);
            let (ways, s) = timed(|| queens(0, all, 0, 0, 0));
            assert_eq!(ways, unsafe { kernel_queens_answer(n as i64) });
            show(s, 1.0);
        }
        "matmul" => {
            let (mut a, mut b) = (vec![0.0; n * n], vec![0.0; n * n]);
            let side = n as i64;
            unsafe { kernel_matmul_fill(a.as_mut_ptr(), b.as_mut_ptr(), side) };
            for size in [side / 4, side] {
                let mut c = vec![1.0; n * n];
                c.fill(0.0); // its pages are there
                let blocks = Blocks(c.as_mut_ptr(), a.as_ptr(), b.as_ptr());
                let ((), s) = timed(|| blocks.product(side, size));
                if size == side {
                    assert_ne!(unsafe { kernel_matmul_right(c.as_ptr(), a.as_ptr(), b.as_ptr(), side) }, 0);
                    show(s, 1.0);
                }
            }
        }
        "quicksort" => {
            let mut v = vec![0; n];
            for size in [n / 10, n] {
                let sum = unsafe { kernel_numbers(v.as_mut_ptr(), size as i64) };
                let ((), s) = timed(|| sort(&mut v[..size]));
                assert_ne!(unsafe { kernel_sorted(v.as_ptr(), size as i64, sum) }, 0);
                if size == n {
                    show(s, n as f64);
                }
            }
        }
        "uts" => {
            let (root, limit) = (unsafe { kernel_tree_root() }, n as i32);
            let expected = unsafe { kernel_tree_count(root, 0, limit) };
            let children = unsafe { kernel_tree_children(root, 0, limit) };
            let (count, s) = timed(|| 1 + nodes(root, 0, children, 1, limit));
            assert_eq!(count, expected);
            show(s, count as f64);
        }
        _ => std::process::exit(3),
    }
}

fn main() {
    let a: Vec<String> = std::env::args().collect();
    let (n, workers) = (a[2].parse().unwrap(), a[3].parse().unwrap());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(workers).build().unwrap();
    pool.install(|| run(&a[1], n, workers));
}
