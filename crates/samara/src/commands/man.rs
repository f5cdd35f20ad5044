//! `samara man`: manual pages from the definition of the command line.

use crate::args::{self, ManArgs};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::suggest;
use std::fs;

/// Prints one page, or writes them all.
pub(crate) fn run(args: &ManArgs, out: Output) -> Result<Exit, Failure> {
    let mut command = args::command();
    command.build();
    if let Some(dir) = &args.dir {
        fs::create_dir_all(dir).map_err(|e| Failure::io("create", dir, &e))?;
        let pages = command.get_subcommands().filter(|s| s.get_name() != "help").cloned();
        let mut written = 0u64;
        for page in std::iter::once(command.clone()).chain(pages) {
            let path = dir.join(format!("{}.1", page.get_display_name().unwrap_or("samara")));
            fs::write(&path, render(page)?).map_err(|e| Failure::io("write", &path, &e))?;
            written += 1;
        }
        out.note(format_args!("{written} pages in {}", dir.display()));
        return Ok(Exit::Done);
    }
    let page = match &args.command {
        None => command,
        Some(name) => {
            command.find_subcommand(name).cloned().ok_or_else(|| unknown(&command, name))?
        }
    };
    out.bytes(&render(page)?)?;
    Ok(Exit::Done)
}

fn render(command: clap::Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(page)
}

fn unknown(command: &clap::Command, name: &str) -> Failure {
    let failure = Failure::new(Exit::Usage, format!("there is no command `{name}`"));
    match suggest::nearest(name, command.get_subcommands().map(clap::Command::get_name)) {
        Some(near) => failure.hint(format!("did you mean `samara man {near}`?")),
        None => failure.hint("all commands: samara --help"),
    }
}
