// SPDX-License-Identifier: Apache-2.0
// What the peers in Rust share: the line they print, answers to check, the sequential kernels of bench/kernels.c.
#![allow(dead_code)]
use std::time::Instant;

pub fn status(key: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|l| l.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

// One figure: name,n,workers,seconds,ns_per_op,ops_per_s,max_rss_kib
pub fn figure(name: &str, n: usize, workers: usize, seconds: f64, value: f64) {
    let rate = if value > 0.0 { 1e9 / value } else { 0.0 };
    println!("{name},{n},{workers},{seconds:.6},{value:.3},{rate:.0},{}", status("VmHWM:"));
}

pub fn timed<R>(work: impl FnOnce() -> R) -> (R, f64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs_f64())
}

pub fn fib_of(n: usize) -> u64 {
    (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0
}

pub fn forks(n: usize) -> f64 {
    (fib_of(n + 1) - 1) as f64
}

pub fn triangle(n: usize) -> u64 {
    n as u64 * (n as u64 - 1) / 2
}

extern "C" {
    pub fn kernel_queens(all: u32, columns: u32, left: u32, right: u32) -> i64;
    pub fn kernel_queens_answer(n: i64) -> i64;
    pub fn kernel_matmul(c: *mut f64, a: *const f64, b: *const f64, stride: i64, n: i64);
    pub fn kernel_matmul_fill(a: *mut f64, b: *mut f64, n: i64);
    pub fn kernel_matmul_right(c: *const f64, a: *const f64, b: *const f64, n: i64) -> i32;
    pub fn kernel_numbers(v: *mut i32, n: i64) -> u64;
    pub fn kernel_partition(v: *mut i32, n: i64) -> i64;
    pub fn kernel_sort(v: *mut i32, n: i64);
    pub fn kernel_sorted(v: *const i32, n: i64, sum: u64) -> i32;
    pub fn kernel_tree_root() -> u64;
    pub fn kernel_tree_child(node: u64, i: i32) -> u64;
    pub fn kernel_tree_children(node: u64, level: i32, limit: i32) -> i32;
    pub fn kernel_tree_count(node: u64, level: i32, limit: i32) -> i64;
}
// As in bench/kernels.h.
pub const QUEENS_FORKED_ROWS: u32 = 6;
pub const MATMUL_BLOCK: i64 = 64;
pub const SORT_BLOCK: i64 = 2048;
