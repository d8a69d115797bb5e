//! Files that rolecall writes: what it refuses to overwrite, and what is left after a failure.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

use crate::common::sandbox::{RunOutput, Sandbox};

const POLICY: &str = "[policy]\nname = \"team\"\n[groups.devs]\n\n[principals.dev]\nrole = \"arn:aws:iam::111122223333:role/dev\"\n\
    groups = [\"devs\"]\n\n[bindings.devs]\ngroups = [\"devs\"]\ncluster-role = \"viewer\"\n\
    [cluster-roles.viewer]\nrules = [{ verbs = [\"get\"], resources = [\"pods\"] }]\n";
const SNAPSHOT: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: aws-auth\n  namespace: kube-system\n\
    data:\n  mapRoles: |\n    - rolearn: arn:aws:iam::111122223333:role/admin\n      username: admin\n      groups: [system:masters]\n";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::offline();
    sandbox.write("rolecall.toml", POLICY).write("cluster.yaml", SNAPSHOT);
    sandbox
}

/// Runs rolecall with a limit of 512 bytes for every file, which fails a write as a full disk does.
fn run_on_full_disk(sandbox: &Sandbox, args: &str) -> RunOutput {
    let program = env!("CARGO_BIN_EXE_rolecall");
    let script = format!("trap '' XFSZ; ulimit -f 1; exec {program} {args}");
    let output = std::process::Command::new("/bin/sh")
        .args(["-c", &script])
        .current_dir(sandbox.path(""))
        .env_clear()
        .env("HOME", sandbox.path(""))
        .output()
        .unwrap();
    output.into()
}

fn names(sandbox: &Sandbox, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(sandbox.path(folder)).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn full_disk_leaves_no_file_and_no_cut_off_file() {
    let sandbox = sandbox();
    // More than 1 KiB, the largest unit of the limit in the shells in use.
    let roles: String = (0..40)
        .map(|number| format!("- rolearn: arn:aws:iam::111122223333:role/r{number}\n      username: r{number}\n    "))
        .collect();
    sandbox.write(
        "cluster.yaml",
        &SNAPSHOT.replace(
            "- rolearn: arn:aws:iam::111122223333:role/admin",
            &format!("{roles}- rolearn: arn:aws:iam::111122223333:role/admin"),
        ),
    );
    let before = sandbox.read("cluster.yaml");
    for args in [
        "plan --snapshot cluster.yaml --out plan.json",
        "snapshot --snapshot cluster.yaml --out copy.yaml",
        "apply --snapshot cluster.yaml --auto-approve --backup backups",
        "apply --snapshot cluster.yaml --auto-approve",
    ] {
        let output = run_on_full_disk(&sandbox, args);
        assert_eq!(output.exit_code, 1, "{args}\n{}", output.stderr);
        assert!(output.stderr.contains("the disk is full"), "{args}\n{}", output.stderr);
        assert_eq!(sandbox.read("cluster.yaml"), before, "{args}");
    }
    assert_eq!(names(&sandbox, "."), ["backups", "cluster.yaml", "rolecall.toml"]);
    assert!(names(&sandbox, "backups").is_empty());
    // With an existing file, its content stays.
    sandbox.ok(&["plan", "--snapshot", "cluster.yaml", "--out", "plan.json"]);
    let plan = sandbox.read("plan.json");
    run_on_full_disk(&sandbox, "plan --snapshot cluster.yaml --out plan.json");
    assert_eq!(sandbox.read("plan.json"), plan);
    run_on_full_disk(&sandbox, "apply --plan plan.json");
    assert_eq!((sandbox.read("plan.json"), sandbox.read("cluster.yaml")), (plan, before));
}

#[test]
fn inputs_and_other_files_are_not_overwritten() {
    let sandbox = Sandbox::with_kubeconfig_text("apiVersion: v1\nkind: Config\n");
    sandbox.write("rolecall.toml", POLICY).write("cluster.yaml", SNAPSHOT).write("notes.txt", "my notes\n");
    sandbox.write("policy/a.toml", POLICY);
    std::os::unix::fs::symlink("rolecall.toml", sandbox.path("link.json")).unwrap();
    for (args, target, reason) in [
        (&["plan", "--snapshot", "cluster.yaml"][..], "rolecall.toml", "it is the policy, which this command reads"),
        (&["plan", "--snapshot", "cluster.yaml"], "link.json", "it is the policy, which this command reads"),
        (&["plan", "--snapshot", "cluster.yaml"], "cluster.yaml", "it is the snapshot, which this command reads"),
        (&["plan", "--snapshot", "cluster.yaml"], "notes.txt", "the file exists and is not a saved plan"),
        (&["plan", "--snapshot", "cluster.yaml"], "kubeconfig", "the file exists and is not a saved plan"),
        (&["plan", "policy", "--snapshot", "cluster.yaml"], "policy/new.toml", "it is a file of the policy"),
        (&["snapshot", "--snapshot", "cluster.yaml"], "cluster.yaml", "it is the snapshot, which this command reads"),
        (&["snapshot", "--snapshot", "cluster.yaml"], "notes.txt", "the file exists and is not a snapshot of rolecall"),
        (&["snapshot", "--snapshot", "cluster.yaml"], "policy", "it is a directory"),
    ] {
        let before = fs::read(sandbox.path(target)).ok();
        let args: Vec<&str> = args.iter().copied().chain(["--out", target]).collect();
        let output = sandbox.run(&args);
        assert_eq!(output.exit_code, 1, "{args:?}\n{}", output.stderr);
        assert!(output.stderr.contains(&format!("cannot write {target}: {reason}")), "{args:?}\n{}", output.stderr);
        assert_eq!(fs::read(sandbox.path(target)).ok(), before, "{args:?}");
    }
}

#[test]
fn devices_stdout_and_own_files_are_written() {
    let sandbox = sandbox();
    let plan = ["plan", "--snapshot", "cluster.yaml", "--out"];
    let with = |target: &'static str| plan.iter().copied().chain([target]).collect::<Vec<_>>();
    sandbox.ok(&with("/dev/null"));
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    let document: serde_json::Value = serde_json::from_str(&sandbox.ok(&with("-"))).unwrap();
    assert!(document["plans"].is_array());
    assert!(sandbox.ok(&with("/dev/stdout")).contains("\"format-version\""));
    // A plan, a snapshot in both formats, and an empty file are overwritten. The mode of the file stays.
    sandbox.write("plan.json", "");
    fs::set_permissions(sandbox.path("plan.json"), fs::Permissions::from_mode(0o640)).unwrap();
    sandbox.ok(&with("plan.json"));
    sandbox.ok(&with("plan.json"));
    assert_eq!(fs::metadata(sandbox.path("plan.json")).unwrap().permissions().mode() & 0o777, 0o640);
    for format in ["text", "json"] {
        let args = ["snapshot", "--snapshot", "cluster.yaml", "-o", format, "--out", "copy"];
        fs::remove_file(sandbox.path("copy")).unwrap_or_default();
        sandbox.ok(&args);
        sandbox.ok(&args);
        assert_eq!(fs::metadata(sandbox.path("copy")).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(names(&sandbox, "."), ["cluster.yaml", "copy", "plan.json", "rolecall.toml"]);
}
