//! `rolecall man` and `rolecall completions`: man pages that groff renders without a warning, and scripts for five shells.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::common::sandbox::Sandbox;

/// Renders a page with groff, as `man` does. `None` if there is no groff on this machine.
#[track_caller]
fn rendered(page: &str) -> Option<String> {
    let mut groff = Command::new("groff");
    groff
        .args(["-man", "-Tutf8", "-ww", "-P-cbou"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut groff = groff.spawn().ok()?;
    groff.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = groff.wait_with_output().unwrap();
    let warnings = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && warnings.is_empty(), "{warnings}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn man_pages_of_all_commands_are_rendered() {
    let sandbox = Sandbox::offline();
    std::fs::create_dir(sandbox.path("man1")).unwrap();
    let output = sandbox.run(&["man", "man1"]);
    assert_eq!(output.exit_code, 0, "{}", output.stderr);
    let mut names: Vec<String> = std::fs::read_dir(sandbox.path("man1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for expected in ["rolecall.1", "rolecall-plan.1", "rolecall-who-can.1", "rolecall-explain.1", "rolecall-test.1"] {
        assert!(names.iter().any(|name| name == expected), "{expected}: {names:?}");
    }
    for name in &names {
        let page = sandbox.read(&format!("man1/{name}"));
        assert!(page.lines().any(|line| line.starts_with(".TH ")), "{page}");
        // A line that begins with a dot is a request, and troff ignores one that it does not know.
        let is_known = |line: &str| {
            [".TH", ".SH", ".SS", ".TP", ".PP", ".RS", ".RE", ".br", ".nf", ".fi", ".ie", ".el", ".IP"]
                .iter()
                .any(|request| line.split(' ').next() == Some(*request))
        };
        let unknown = page.lines().find(|line| line.starts_with('.') && !is_known(line));
        assert_eq!(unknown, None, "{name}");
        let Some(text) = rendered(&page) else { continue };
        let command = name.trim_end_matches(".1");
        assert!(text.contains("NAME") && text.contains(command) && text.contains("SYNOPSIS"), "{text}");
        if name == "rolecall-drift.1" {
            assert!(
                text.contains("--metrics <FILE>") && text.contains("rolecall drift access/ --cluster prod"),
                "{text}"
            );
        }
    }
    // A second run replaces them, and no other file is overwritten.
    sandbox.ok(&["man", "man1"]);
    sandbox.write("man1/rolecall.1", "notes\n");
    let output = sandbox.run(&["man", "man1"]);
    assert!(output.exit_code == 1 && output.stderr.contains("is not a man page of rolecall"), "{}", output.stderr);
}

#[test]
fn completions_exist_for_five_shells_and_are_scripts() {
    let sandbox = Sandbox::offline();
    for (shell, check) in [
        ("bash", Some(["bash", "-n"])),
        ("zsh", Some(["zsh", "-n"])),
        ("fish", Some(["fish", "-n"])),
        ("elvish", None),
        ("powershell", None),
    ] {
        let script = sandbox.ok(&["completions", shell]);
        for word in ["who-can", "explain", "metrics"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        sandbox.write("script", &script);
        let Some([program, flag]) = check else { continue };
        // Only the shells of this machine can check the syntax.
        if let Ok(output) = Command::new(program).arg(flag).arg(sandbox.path("script")).output() {
            assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
