//! The `pristine` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    pristine::backend::native::dispatch();
    pristine::backend::docker::dispatch();
    pristine::commands::main()
}
