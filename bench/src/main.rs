//! `cargo run --release -p samara-bench -- transfers`: see the library's documentation.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    samara_bench::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("samara-bench measures on Linux only: it reads /proc and uses epoll and sendfile");
    ExitCode::from(2)
}
