//! Signed plan files, and plans of two clusters that are the same one.

use crate::common::sandbox::Sandbox;
use crate::common::shared_cluster::cluster;

const CLUSTER: &str = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: view }
rules: [{ verbs: [get], apiGroups: [\"\"], resources: [pods] }]
";
const POLICY: &str = "\
[policy]
name = \"p\"
[groups.viewers]
[bindings.viewers]
cluster-role = \"view\"
groups = [\"viewers\"]
";

/// Keys that are used nowhere else.
const KEYS: [(&str, &str, &str); 4] = [
    ("ed", include_str!("keys/ed"), include_str!("keys/ed.pub")),
    ("enc", include_str!("keys/enc"), include_str!("keys/enc.pub")),
    ("ec", include_str!("keys/ec"), include_str!("keys/ec.pub")),
    ("rsa", include_str!("keys/rsa"), include_str!("keys/rsa.pub")),
];
const PASSPHRASE: (&str, &str) = ("ROLECALL_SIGN_PASSPHRASE", "open sesame");

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::offline();
    sandbox.write("rolecall.toml", POLICY).write("cluster.yaml", CLUSTER);
    for (name, private, public) in KEYS {
        sandbox.write(name, private).write(&format!("{name}.pub"), public);
    }
    sandbox
}

/// Runs a command with the passphrase. Returns its exit code and its whole output, which never has a part of a key.
fn run(sandbox: &Sandbox, args: &[&str], passphrase: Option<&str>) -> (i32, String) {
    let mut command = sandbox.command(args);
    command.env_remove(PASSPHRASE.0);
    command.envs(passphrase.map(|passphrase| (PASSPHRASE.0, passphrase)));
    let output = command.output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    for (name, private, _) in KEYS {
        for line in private.lines().filter(|line| !line.contains("-----")) {
            assert!(!text.contains(line), "{name} in {text}");
        }
    }
    assert!(!text.contains(PASSPHRASE.1), "{text}");
    (output.status.code().unwrap(), text)
}

fn plan(sandbox: &Sandbox, key: &str, passphrase: Option<&str>) -> (i32, String) {
    let args = ["plan", "--snapshot", "cluster.yaml", "--out", "plan.json", "--sign-key", key];
    run(sandbox, &args, passphrase)
}

fn apply(sandbox: &Sandbox, key: &str) -> (i32, String) {
    run(sandbox, &["apply", "--plan", "plan.json", "--verify-key", key], None)
}

#[test]
fn signed_plan_is_applied_and_every_other_one_is_refused() {
    for (name, passphrase) in [("ed", None), ("enc", Some(PASSPHRASE.1)), ("ec", None)] {
        let sandbox = sandbox();
        let public = format!("{name}.pub");
        let (exit, text) = plan(&sandbox, name, passphrase);
        assert!(exit == 0 && text.contains("Signature saved to plan.json.sig"), "{text}");
        let (plan_text, signature) = (sandbox.read("plan.json"), sandbox.read("plan.json.sig"));
        let refused = |message: &str, key: &str| {
            let (exit, text) = apply(&sandbox, key);
            assert!(exit == 1 && text.contains(message), "{message}\n{text}");
            assert_eq!(sandbox.read("cluster.yaml"), CLUSTER);
        };
        for (other, _, _) in KEYS.iter().filter(|(other, _, _)| !["rsa", name].contains(other)) {
            refused("it was made with a key that is not in ", &format!("{other}.pub"));
        }
        sandbox.write("plan.json", &plan_text.replace("viewers", "admins"));
        refused("the signature of the plan plan.json is not valid", &public);
        sandbox.write("plan.json", &format!("{plan_text} "));
        refused("the signature of the plan plan.json is not valid", &public);
        sandbox.write("plan.json", &plan_text);
        sandbox.write("plan.json.sig", "");
        refused("plan.json.sig is not a signature of OpenSSH", &public);
        std::fs::remove_file(sandbox.path("plan.json.sig")).unwrap();
        refused("the plan plan.json is not signed", &public);
        sandbox.write("plan.json.sig", &signature);
        refused("rsa.pub: rolecall does not support keys of the type ssh-rsa", "rsa.pub");
        refused("is not a public key of OpenSSH", "cluster.yaml");
        refused("cannot read the key nosuch", "nosuch");
        // A file with several keys, as authorized_keys has them.
        let both = format!("# the team\n{}\n{}", KEYS[0].2, KEYS.iter().find(|key| key.0 == name).unwrap().2);
        sandbox.write("team.pub", &both);
        let (exit, text) = apply(&sandbox, "team.pub");
        assert_eq!(exit, 0, "{text}");
        let (exit, text) = apply(&sandbox, &public);
        assert!(exit == 1 && text.contains("a plan is applied once"), "{text}");
    }
}

#[test]
fn keys_that_cannot_sign_are_refused_before_the_plan() {
    let sandbox = sandbox();
    for (key, passphrase, message) in [
        ("enc", None, "the key enc is encrypted, and stdin is not a terminal"),
        ("enc", Some("wrong"), "cannot decrypt the key enc"),
        ("rsa", None, "rsa: rolecall does not support keys of the type ssh-rsa"),
        ("rsa", None, "= because: RSA in Rust leaks the private key through its timing (RUSTSEC-2023-0071)"),
        ("ed.pub", None, "ed.pub is not a private key of OpenSSH"),
        ("nosuch", None, "cannot read the key nosuch"),
    ] {
        let (exit, text) = plan(&sandbox, key, passphrase);
        assert!(exit == 1 && text.contains(message), "{message}\n{text}");
        assert!(!sandbox.path("plan.json").exists(), "{key}");
    }
    // A key whose text is damaged.
    sandbox.write("ed", &KEYS[0].1.replace('b', "c"));
    let (exit, text) = plan(&sandbox, "ed", None);
    assert!(exit == 1 && text.contains("ed is not a private key of OpenSSH"), "{text}");
}

/// Signatures are those of `ssh-keygen`, in both directions.
#[test]
fn ssh_keygen_makes_and_verifies_signatures() {
    let sandbox = sandbox();
    let keygen = |args: &[&str], stdin: &str| {
        let mut command = std::process::Command::new("ssh-keygen");
        command.args(args).current_dir(sandbox.path(""));
        command.stdin(std::fs::File::open(sandbox.path(stdin)).unwrap());
        command
            .output()
            .ok()
            .map(|output| (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let (exit, text) = plan(&sandbox, "ed", None);
    assert_eq!(exit, 0, "{text}");
    sandbox.write("signers", &format!("ci {}", KEYS[0].2));
    let args = ["-Y", "verify", "-f", "signers", "-I", "ci", "-n", "rolecall-plan", "-s", "plan.json.sig"];
    let Some((is_valid, text)) = keygen(&args, "plan.json") else {
        eprintln!("ssh-keygen is not installed");
        return;
    };
    assert!(is_valid, "{text}");
    std::fs::set_permissions(sandbox.path("ed"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    for (namespace, is_accepted) in [("file", false), ("rolecall-plan", true)] {
        std::fs::remove_file(sandbox.path("plan.json.sig")).unwrap();
        let (is_signed, text) = keygen(&["-Y", "sign", "-f", "ed", "-n", namespace, "plan.json"], "plan.json").unwrap();
        assert!(is_signed, "{text}");
        let (exit, text) = apply(&sandbox, "ed.pub");
        assert_eq!(exit == 0, is_accepted, "{text}");
    }
}

#[test]
fn two_names_of_one_cluster_are_refused() {
    let sandbox = sandbox();
    let clusters = "[clusters.a]\nsnapshot = \"cluster.yaml\"\n[clusters.b]\nsnapshot = \"other.yaml\"\n";
    sandbox.write("rolecall.toml", &POLICY.replace("[groups", &format!("{clusters}[groups")));
    let namespace = |uid: &str| {
        format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{ name: kube-system, uid: {uid} }}\n{CLUSTER}")
            .replace("}\napiVersion", "}\n---\napiVersion")
    };
    let refused = |args: &[&str], because: &str| {
        let output = sandbox.run(args);
        assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
        assert!(output.stderr.contains("`a` and `b` are the same cluster"), "{}", output.stderr);
        assert!(output.stderr.contains(because), "{}", output.stderr);
    };
    sandbox.write("cluster.yaml", &namespace("u1")).write("other.yaml", &namespace("u2"));
    sandbox.ok(&["plan"]);
    let before = sandbox.read("cluster.yaml");
    // Several snapshots of one cluster can be planned together.
    sandbox.write("other.yaml", &(namespace("u1") + "# another file\n"));
    sandbox.ok(&["plan"]);
    // Links do not hide that the file is the same.
    std::fs::remove_file(sandbox.path("other.yaml")).unwrap();
    std::os::unix::fs::symlink(sandbox.path("cluster.yaml"), sandbox.path("other.yaml")).unwrap();
    for args in [&["plan"][..], &["drift"], &["apply", "--auto-approve"], &["apply", "--dry-run"]] {
        refused(args, "both read the snapshot ");
    }
    assert_eq!(sandbox.read("cluster.yaml"), before);
    sandbox.ok(&["plan", "--cluster", "b"]);
}

#[test]
fn two_contexts_of_one_cluster_are_refused() {
    let cluster = cluster();
    let sandbox = Sandbox::with_kubeconfig(cluster.kubeconfig());
    let clusters = "[clusters.a]\ncontext = \"admin\"\n[clusters.b]\ncontext = \"admin\"\n";
    sandbox.write("rolecall.toml", &POLICY.replace("[groups", &format!("{clusters}[groups")));
    for args in [&["plan"][..], &["drift"], &["apply", "--auto-approve"], &["apply", "--dry-run"]] {
        let output = sandbox.run(args);
        assert_eq!(output.exit_code, 1, "{}{}", output.stdout, output.stderr);
        assert!(output.stderr.contains("`a` and `b` are the same cluster"), "{}", output.stderr);
        assert!(output.stderr.contains("the namespace kube-system has the uid "), "{}", output.stderr);
    }
}

/// What grants or removes most comes first, and is never cut.
#[test]
fn long_plan_shows_the_most_severe_access_first() {
    let sandbox = sandbox();
    let mut policy = "[policy]\nname = \"p\"\n[groups.quiet]\n[groups.crew]\n[groups.ops]\n".to_owned();
    let mut cluster = CLUSTER.to_owned();
    for n in 0..450 {
        policy += &format!(
            "[cluster-roles.a{n:03}]\nrules = [{{ verbs = [\"get\"], resources = [\"services\"], resource-names = [\"s{n}\"] }}]\n\
             [bindings.a{n:03}]\ncluster-role = \"a{n:03}\"\nusers = [\"u{n}\"]\n"
        );
    }
    policy += "[bindings.zz]\ncluster-role = \"cluster-admin\"\ngroups = [\"ops\"]\n\
               [cluster-roles.zsecret]\nrules = [{ verbs = [\"get\"], resources = [\"secrets\"] }]\n\
               [bindings.zsecret]\ncluster-role = \"zsecret\"\ngroups = [\"crew\"]\n";
    cluster += "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: cluster-admin }\n\
                rules: [{ verbs: [\"*\"], apiGroups: [\"*\"], resources: [\"*\"] }]\n";
    sandbox.write("rolecall.toml", &policy).write("cluster.yaml", &cluster);
    let output = sandbox.run(&["plan", "--snapshot", "cluster.yaml", "--allow", "last-admin"]);
    let text = output.stdout;
    let first = text.lines().nth(2).unwrap();
    assert!(first.contains("ClusterRoleBinding zz"), "{first}");
    assert!(text.contains("ClusterRole        zsecret") && text.contains("ClusterRoleBinding zsecret"));
    let access = text.split("Who gains and loses access\n").nth(1).unwrap();
    assert!(access.lines().next().unwrap().contains("group:ops"), "{access}");
    assert!(access.contains("group:crew"), "{access}");
    assert!(
        text.contains("… and 503 more changes: ")
            && text.contains("; none with wildcards, secrets or other sensitive access (use --full to show them)"),
        "{text}"
    );
    assert!(text.contains("… and 352 more access changes: 352 gain, 0 lose; none with wildcards"), "{access}");
    let json = sandbox.plan(&["--snapshot", "cluster.yaml", "--allow", "last-admin"]);
    assert_eq!(
        json["plans"][0]["changes"][0]["target"]["object"]["name"]
            .as_str()
            .or(json["changes"][0]["target"]["object"]["name"].as_str()),
        Some("zz")
    );
    // Drift does not compute access, and shows the same binding first.
    let drift = sandbox.run(&["drift", "--snapshot", "cluster.yaml"]).stdout;
    assert!(drift.lines().nth(3).unwrap().contains("ClusterRoleBinding zz"), "{drift}");
    // All subjects of such a change are shown.
    let users: Vec<String> = (0..40).map(|n| format!("\"admin{n}\"")).collect();
    let binding = format!("users = [{}]\n", users.join(", "));
    sandbox.write("rolecall.toml", &policy.replace("groups = [\"ops\"]\n", &binding));
    let text = sandbox.run(&["plan", "--snapshot", "cluster.yaml", "--allow", "last-admin"]).stdout;
    assert!((0..40).all(|n| text.contains(&format!("user:admin{n}\n"))), "{text}");
}
