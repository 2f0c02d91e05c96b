//! `nvcim completions SHELL`.

use clap_complete::Shell;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The shell.
    shell: Shell,
}

pub(crate) fn run(args: &Args, command: &mut clap::Command) {
    clap_complete::generate(args.shell, command, "nvcim", &mut std::io::stdout());
}
