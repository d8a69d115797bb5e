//! The commit of a policy, for the audit log: from the variables of CI systems, or from the files of git. No process is
//! started, since a repository can configure programs that git runs.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The variables in which CI systems pass the commit: GitHub, GitLab, Bitbucket, Azure Pipelines, CircleCI, Buildkite,
/// CodeBuild, Jenkins.
const COMMIT_VARIABLES: [&str; 8] = [
    "GITHUB_SHA",
    "CI_COMMIT_SHA",
    "BITBUCKET_COMMIT",
    "BUILD_SOURCEVERSION",
    "CIRCLE_SHA1",
    "BUILDKITE_COMMIT",
    "CODEBUILD_RESOLVED_SOURCE_VERSION",
    "GIT_COMMIT",
];
/// A longer file is not read. A repository with many branches has them in one file.
const MAX_FILE: u64 = 16 << 20;

/// Returns the commit of the policy in a directory. `None` if it is not known.
pub(crate) fn policy_commit(vars: &BTreeMap<String, String>, folder: &Path) -> Option<String> {
    let from_variable = COMMIT_VARIABLES.iter().find_map(|name| commit_id(vars.get(*name)?));
    from_variable.or_else(|| checked_out_commit(folder))
}

/// Returns the text if it is the name of a commit, so that no other text of a file is ever recorded.
fn commit_id(text: &str) -> Option<String> {
    let text = text.trim();
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_hex && matches!(text.len(), 40 | 64)).then(|| text.to_owned())
}

fn checked_out_commit(folder: &Path) -> Option<String> {
    let git = folder.ancestors().map(|folder| folder.join(".git")).find(|path| path.exists())?;
    let git = if git.is_dir() { git } else { linked_folder(&git)? };
    let head = read(&git.join("HEAD"))?;
    let Some(reference) = head.trim().strip_prefix("ref: ") else {
        return commit_id(&head);
    };
    let is_safe = reference.starts_with("refs/") && !reference.split('/').any(|part| part == "..");
    // The branches of a worktree are in the repository that it belongs to.
    let common = read(&git.join("commondir")).map_or_else(|| git.clone(), |path| git.join(path.trim()));
    let branch = Some(reference).filter(|_| is_safe)?;
    let from_file = [&git, &common].into_iter().find_map(|folder| commit_id(&read(&folder.join(branch))?));
    from_file.or_else(|| packed_commit(&read(&common.join("packed-refs"))?, branch))
}

/// Returns the directory that the file `.git` of a worktree or a submodule names.
fn linked_folder(file: &Path) -> Option<PathBuf> {
    let text = read(file)?;
    Some(file.parent()?.join(text.trim().strip_prefix("gitdir: ")?))
}

fn packed_commit(packed_refs: &str, branch: &str) -> Option<String> {
    let mut lines = packed_refs.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(_, name)| name.trim() == branch).and_then(|(id, _)| commit_id(id))
}

fn read(path: &Path) -> Option<String> {
    // A pipe in place of a file of git would block.
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(MAX_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests write the files of git")]
mod tests {
    use super::*;

    const FIRST: &str = "1111111111111111111111111111111111111111";
    const SECOND: &str = "2222222222222222222222222222222222222222";

    fn write(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn in_folder(folder: &Path) -> Option<String> {
        policy_commit(&BTreeMap::new(), folder)
    }

    #[test]
    fn variable_of_the_ci_system_comes_first_if_it_is_a_commit() {
        let folder = tempfile::TempDir::new().unwrap();
        write(folder.path(), ".git/HEAD", FIRST);
        let with = |value: &str| {
            let vars = BTreeMap::from([("CI_COMMIT_SHA".to_owned(), value.to_owned())]);
            policy_commit(&vars, folder.path()).unwrap()
        };
        assert_eq!(with(SECOND), SECOND);
        for other in ["", "main", &SECOND[1..], "secret\u{1b}[2J"] {
            assert_eq!(with(other), FIRST, "{other:?}");
        }
    }

    #[test]
    fn commit_is_read_from_the_files_of_git() {
        let folder = tempfile::TempDir::new().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("policies/prod")).unwrap();
        assert_eq!(in_folder(&root.join("policies/prod")), None);
        write(root, ".git/HEAD", "ref: refs/heads/main\n");
        assert_eq!(in_folder(root), None);
        write(root, ".git/packed-refs", &format!("# pack-refs\n{SECOND} refs/heads/other\n{FIRST} refs/heads/main\n"));
        assert_eq!(in_folder(&root.join("policies/prod")).as_deref(), Some(FIRST));
        write(root, ".git/refs/heads/main", &format!("{SECOND}\n"));
        assert_eq!(in_folder(root).as_deref(), Some(SECOND));
        // A worktree has its own HEAD, and the branches of the repository.
        write(root, ".git/worktrees/w/HEAD", "ref: refs/heads/main\n");
        write(root, ".git/worktrees/w/commondir", "../..\n");
        write(root, "w/.git", &format!("gitdir: {}\n", root.join(".git/worktrees/w").display()));
        assert_eq!(in_folder(&root.join("w")).as_deref(), Some(SECOND));
    }

    #[test]
    fn file_outside_of_git_is_not_quoted() {
        let folder = tempfile::TempDir::new().unwrap();
        let root = folder.path();
        write(root, "secret", FIRST);
        write(root, "token", "hunter2\n");
        for head in ["ref: ../secret", "ref: refs/../../secret", "hunter2", ""] {
            write(root, ".git/HEAD", head);
            assert_eq!(in_folder(root), None, "{head}");
        }
        write(root, ".git/HEAD", "ref: refs/heads/main");
        write(root, ".git/refs/heads/main", "hunter2");
        assert_eq!(in_folder(root), None);
    }
}
