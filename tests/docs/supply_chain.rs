//! The records of `supply-chain/` fit Cargo.lock: what handles credentials was looked at in its locked version, and each
//! build script is known.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{bless, read, root};

/// The part of `credentials.toml` that `BLESS=1` writes begins here.
const GENERATED: &str = "\n# What these crates use, with the locked version. Some are for other systems, and some are never compiled: rsa is\n\
     # an option of ssh-key that is off, and deny.toml bans it.\n[used-by-them]\n";

/// Text of a program that reaches out. A build script or procedural macro with it is not allowed at all.
const NETWORK: [&str; 8] =
    ["std::net", "TcpStream", "UdpSocket", "reqwest", "ureq::", "\"curl\"", "\"wget\"", "Command::new(\"git\")"];

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct CredentialRecord {
    #[serde(rename = "crate")]
    crates: Vec<CredentialCrate>,
    without_credentials: BTreeMap<String, String>,
    #[serde(default)]
    used_by_them: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct CredentialCrate {
    name: String,
    version: String,
    maintainers: String,
    handles: String,
    looked_at: String,
}

#[derive(Deserialize)]
struct LockFile {
    package: Vec<LockedPackage>,
}

#[derive(Deserialize)]
struct LockedPackage {
    name: String,
    version: String,
    source: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

fn lock_file() -> LockFile {
    toml::from_str(&read(&root().join("Cargo.lock"))).unwrap()
}

impl LockFile {
    /// The packages that the named ones use, with themselves.
    fn closure<'l>(&'l self, names: &[&str]) -> BTreeSet<(&'l str, &'l str)> {
        let mut found = BTreeSet::new();
        let mut rest: Vec<&LockedPackage> =
            self.package.iter().filter(|package| names.contains(&package.name.as_str())).collect();
        while let Some(package) = rest.pop() {
            if !found.insert((package.name.as_str(), package.version.as_str())) {
                continue;
            }
            for dependency in &package.dependencies {
                // A version follows if several are locked.
                let (name, version) =
                    dependency.split_once(' ').map_or((dependency.as_str(), None), |(name, version)| {
                        (name, Some(version.split(' ').next().unwrap()))
                    });
                let is_it = |other: &&LockedPackage| other.name == name && version.is_none_or(|it| it == other.version);
                rest.push(self.package.iter().find(is_it).unwrap());
            }
        }
        found
    }
}

#[test]
fn what_handles_credentials_was_looked_at_in_its_locked_version() {
    let path = root().join("supply-chain/credentials.toml");
    let text = read(&path);
    let written_by_hand = text.split(GENERATED).next().unwrap();
    let record: CredentialRecord = toml::from_str(&text).unwrap();
    let lock = lock_file();
    for CredentialCrate { name, version, maintainers, handles, looked_at } in &record.crates {
        assert!(!maintainers.is_empty() && !handles.is_empty() && !looked_at.is_empty(), "{name}");
        let mut locked = lock.package.iter().filter(|package| package.name == *name).map(|package| &package.version);
        // A second version is listed with the crates that use it.
        assert!(
            locked.any(|locked| locked == version),
            "{name} {version} is not locked: look at the difference, and record it in supply-chain/credentials.toml"
        );
    }
    let names: Vec<&str> = record.crates.iter().map(|package| package.name.as_str()).collect();
    let recorded: BTreeSet<(&str, &str)> =
        record.crates.iter().map(|package| (package.name.as_str(), package.version.as_str())).collect();
    let mut used: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, version) in lock.closure(&names).difference(&recorded) {
        used.entry((*name).to_owned()).or_default().push((*version).to_owned());
    }
    if used != record.used_by_them && bless() {
        let lines: String = used.iter().map(|(name, versions)| format!("{name} = {versions:?}\n")).collect();
        std::fs::write(&path, format!("{written_by_hand}{GENERATED}{lines}")).unwrap();
        return;
    }
    let text_of = |list: &BTreeMap<String, Vec<String>>| -> BTreeSet<String> {
        list.iter()
            .flat_map(|(name, versions)| versions.iter().map(move |version| format!("{name} {version}")))
            .collect()
    };
    let (used, recorded) = (text_of(&used), text_of(&record.used_by_them));
    let (new, gone): (Vec<_>, Vec<_>) = (used.difference(&recorded).collect(), recorded.difference(&used).collect());
    assert!(
        new.is_empty() && gone.is_empty(),
        "crates in the path of credentials have changed: look at the new ones, then run `BLESS=1 cargo test --test docs` \
         and commit the difference\nnew: {new:?}\ngone: {gone:?}"
    );
}

#[test]
fn each_dependency_handles_credentials_or_is_said_not_to() {
    let record: CredentialRecord = toml::from_str(&read(&root().join("supply-chain/credentials.toml"))).unwrap();
    let manifest: toml::Table = toml::from_str(&read(&root().join("Cargo.toml"))).unwrap();
    let unix = &manifest["target"]["cfg(unix)"]["dependencies"];
    let direct = manifest["dependencies"].as_table().unwrap().keys().chain(unix.as_table().unwrap().keys());
    let direct: BTreeSet<&str> = direct.map(String::as_str).collect();
    let handling: BTreeSet<&str> = record.crates.iter().map(|package| package.name.as_str()).collect();
    let other: BTreeSet<&str> = record.without_credentials.keys().map(String::as_str).collect();
    let unknown: Vec<_> = direct.iter().filter(|name| !handling.contains(*name) && !other.contains(*name)).collect();
    assert!(unknown.is_empty(), "record in supply-chain/credentials.toml whether these get a credential: {unknown:?}");
    let stale: Vec<_> = other.difference(&direct).collect();
    assert!(stale.is_empty(), "no longer dependencies: {stale:?}");
}

#[test]
fn all_packages_come_from_the_registry() {
    let lock = lock_file();
    for LockedPackage { name, source, .. } in &lock.package {
        let is_own = name == "rolecall";
        let registry = "registry+https://github.com/rust-lang/crates.io-index";
        assert!(source.as_deref() == Some(registry) || (is_own && source.is_none()), "{name} comes from {source:?}");
    }
}

/// The build scripts and procedural macros of the packages that are compiled on this system: they run on the machine of
/// each developer and in CI.
fn programs_of_the_build() -> Vec<(String, bool, std::path::PathBuf)> {
    let host = Command::new("rustc").arg("-vV").output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", &host])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let used: BTreeSet<&str> =
        metadata["resolve"]["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect();
    let mut programs = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        if !used.contains(package["id"].as_str().unwrap()) {
            continue;
        }
        for target in package["targets"].as_array().unwrap() {
            let kinds: Vec<&str> =
                target["kind"].as_array().unwrap().iter().map(|kind| kind.as_str().unwrap()).collect();
            let (is_script, is_macro) = (kinds.contains(&"custom-build"), kinds.contains(&"proc-macro"));
            if is_script || is_macro {
                let name = package["name"].as_str().unwrap().to_owned();
                programs.push((name, is_script, target["src_path"].as_str().unwrap().into()));
            }
        }
    }
    programs
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct BuildRecord {
    #[serde(default)]
    build_scripts: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    procedural_macros: BTreeSet<String>,
}

fn sha256_of(path: &Path) -> String {
    let text = read(path);
    Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn each_build_script_is_known_and_none_reaches_out() {
    let path = root().join("supply-chain/build-scripts.toml");
    let record: BuildRecord =
        if path.exists() { toml::from_str(&read(&path)).unwrap() } else { BuildRecord::default() };
    let mut found = BuildRecord::default();
    for (name, is_script, source) in programs_of_the_build() {
        if is_script {
            let text = read(&source);
            let reaching: Vec<_> = NETWORK.iter().filter(|word| text.contains(**word)).collect();
            assert!(reaching.is_empty(), "the build script of {name} has {reaching:?}");
            let scripts = found.build_scripts.entry(name).or_default();
            scripts.push(sha256_of(&source));
            scripts.sort();
            scripts.dedup();
        } else {
            found.procedural_macros.insert(name);
        }
    }
    let is_new = |(name, hashes): &(&String, &Vec<String>)| {
        let known = record.build_scripts.get(*name);
        !hashes.iter().all(|hash| known.is_some_and(|known| known.contains(hash)))
    };
    let scripts: Vec<_> = found.build_scripts.iter().filter(is_new).collect();
    let macros: Vec<_> = found.procedural_macros.difference(&record.procedural_macros).collect();
    if bless() && !(scripts.is_empty() && macros.is_empty()) {
        std::fs::write(&path, build_record_text(&found, &record)).unwrap();
        return;
    }
    assert!(
        scripts.is_empty() && macros.is_empty(),
        "new programs run in a build: read them, then run `BLESS=1 cargo test --test docs` and commit the difference\n\
         build scripts: {scripts:?}\nprocedural macros: {macros:?}"
    );
}

/// The record with what was found on this system. What other systems have is kept.
fn build_record_text(found: &BuildRecord, record: &BuildRecord) -> String {
    let mut scripts = record.build_scripts.clone();
    scripts.extend(found.build_scripts.clone());
    let macros: BTreeSet<&String> = found.procedural_macros.union(&record.procedural_macros).collect();
    let mut out = "\
# The programs of dependencies that run in a build, on the machine of each developer and in CI. Each build script was looked
# at: none uses the network, each starts only compilers, and each writes only to the output directory of cargo.
#
# tests/docs/supply_chain.rs fails for a new one, and for a build script that has changed: read it, then run
# `BLESS=1 cargo test --test docs` and commit the difference.

# The first 8 bytes of the SHA-256 of each build script.
[build-scripts]
"
    .to_owned();
    scripts.iter().for_each(|(name, hashes)| out.push_str(&format!("{name} = {hashes:?}\n")));
    let macros: String = macros.iter().map(|name| format!("    {name:?},\n")).collect();
    // The array belongs to the document, so it precedes the table.
    out.replace("# The first 8", &format!("procedural-macros = [\n{macros}]\n\n# The first 8"))
}
