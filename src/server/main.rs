//! The binary `headwater`.

use clap::Parser;
use hw_server::config::CommandLine;
use std::process::ExitCode;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// Time that threads are given to end by themselves.
const EXIT_TIMEOUT: Duration = Duration::from_millis(200);

/// Room on each of the runtime's threads: plans nest as deep as statements and the views they name. Only what is used
/// is ever taken.
const STACK_BYTES: usize = 64 << 20;

#[global_allocator]
static ALLOCATOR: hw_memory::MiMalloc = hw_memory::MiMalloc;

fn main() -> ExitCode {
    let line = CommandLine::parse();
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,hw_server=info,hw_coordinator=info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    if let Err(error) = hw_memory::give_back_in_background() {
        tracing::warn!("no thread for giving memory back: {error}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().thread_stack_size(STACK_BYTES).enable_all().build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("headwater: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(hw_server::serve::main(line));
    // Everything that had to be written is; a reader that waits for a broker is not waited for.
    runtime.shutdown_timeout(EXIT_TIMEOUT);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("headwater: {message}");
            ExitCode::FAILURE
        }
    }
}
