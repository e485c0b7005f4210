//! `man`: prints the whole command line, including the tools, as one manual page.

use std::io;
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;

use crate::shared::output::{Trouble, say_as_it_is};

pub(super) fn run(program: Command) -> Result<ExitCode, Trouble> {
    say_as_it_is(page(program)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the page in troff. One page for all tools is a single file to install.
fn page(mut program: Command) -> io::Result<Vec<u8>> {
    program.build();
    let mut page = Vec::new();
    let man = Man::new(program.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    page.extend_from_slice(b".SH TOOLS\n");
    for tool in program.get_subcommands() {
        // clap's own `help` would print the same text.
        if tool.get_name() != "help" {
            page.extend(section(tool.clone())?);
        }
    }
    page.extend_from_slice(b".SH \"EXIT STATUS\"\n");
    let mut status = Vec::new();
    man.render_extra_section(&mut status)?;
    page.extend(without_headings(&status));
    Ok(page)
}

fn section(tool: Command) -> io::Result<Vec<u8>> {
    let mut section = format!(".SS {}\n", tool.get_name()).into_bytes();
    let man = Man::new(tool);
    let mut text = Vec::new();
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    section.extend(without_headings(&text));
    Ok(section)
}

/// Turns headings of sections into paragraphs, because they are below another heading.
fn without_headings(troff: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(troff);
    let lines = text.lines().map(|line| match line.starts_with(".SH ") {
        true => ".PP\n".to_owned(),
        false => format!("{line}\n"),
    });
    lines.collect::<String>().into_bytes()
}
