//! Who runs a command, for the audit log. In a pipeline the cluster sees only the role of the pipeline, so the person comes
//! from the variables of the CI system.

use std::collections::BTreeMap;

/// Where a command runs, and the user who started it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunAuthor {
    /// The CI system; `None` outside of one.
    pub(crate) ci: Option<&'static str>,
    /// The user that the CI system names, or that is logged in on the machine. It is not checked.
    pub(crate) user: Option<String>,
    /// The page of the CI system about the run.
    pub(crate) url: Option<String>,
}

/// The variables of a CI system.
struct CiVariables {
    name: &'static str,
    /// Set in every run.
    mark: &'static str,
    user: &'static str,
    /// The parts of the URL, with `/` between them. A part that begins with a capital letter is the name of a variable.
    url: &'static [&'static str],
}

/// GitHub: <https://docs.github.com/en/actions/reference/workflows-and-actions/variables>, GitLab:
/// <https://docs.gitlab.com/ci/variables/predefined_variables/>, and the documentation of the others.
const CI_SYSTEMS: [CiVariables; 6] = [
    CiVariables {
        name: "github-actions",
        mark: "GITHUB_ACTIONS",
        user: "GITHUB_ACTOR",
        url: &["GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "actions/runs", "GITHUB_RUN_ID"],
    },
    CiVariables { name: "gitlab-ci", mark: "GITLAB_CI", user: "GITLAB_USER_LOGIN", url: &["CI_JOB_URL"] },
    CiVariables {
        name: "buildkite",
        mark: "BUILDKITE",
        user: "BUILDKITE_BUILD_CREATOR",
        url: &["BUILDKITE_BUILD_URL"],
    },
    CiVariables { name: "circleci", mark: "CIRCLECI", user: "CIRCLE_USERNAME", url: &["CIRCLE_BUILD_URL"] },
    CiVariables { name: "azure-pipelines", mark: "TF_BUILD", user: "BUILD_REQUESTEDFOR", url: &[] },
    CiVariables { name: "atlantis", mark: "ATLANTIS_TERRAFORM_VERSION", user: "USER_NAME", url: &[] },
];

impl RunAuthor {
    pub(crate) fn from_variables(vars: &BTreeMap<String, String>) -> Self {
        let value = |name: &str| vars.get(name).filter(|value| !value.is_empty()).cloned();
        let Some(system) = CI_SYSTEMS.iter().find(|system| value(system.mark).is_some()) else {
            // The user on Unix, and on Windows.
            let user = ["USER", "LOGNAME", "USERNAME"].into_iter().find_map(value);
            return Self { ci: None, user, url: None };
        };
        let is_variable = |part: &str| part.starts_with(|c: char| c.is_ascii_uppercase());
        let part = |part: &&str| if is_variable(part) { value(part) } else { Some((*part).to_owned()) };
        let parts: Option<Vec<String>> = system.url.iter().map(part).collect();
        let url = parts.filter(|parts| !parts.is_empty()).map(|parts| parts.join("/"));
        Self { ci: Some(system.name), user: value(system.user), url }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author(vars: &[(&str, &str)]) -> RunAuthor {
        RunAuthor::from_variables(&vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn ci_systems_name_the_user_and_the_run() {
        let github = author(&[
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_ACTOR", "alice"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "org/access"),
            ("GITHUB_RUN_ID", "17"),
            ("USER", "runner"),
        ]);
        let url = Some("https://github.com/org/access/actions/runs/17".to_owned());
        assert_eq!(github, RunAuthor { ci: Some("github-actions"), user: Some("alice".to_owned()), url });
        let gitlab = author(&[("GITLAB_CI", "true"), ("GITLAB_USER_LOGIN", "bob"), ("CI_JOB_URL", "https://g/1")]);
        assert_eq!((gitlab.user.as_deref(), gitlab.url.as_deref()), (Some("bob"), Some("https://g/1")));
        // The user of the runner is not the one who started the run.
        let unknown = author(&[("GITLAB_CI", "true"), ("USER", "runner")]);
        assert_eq!(unknown, RunAuthor { ci: Some("gitlab-ci"), user: None, url: None });
    }

    #[test]
    fn outside_of_ci_the_user_is_the_one_who_is_logged_in() {
        assert_eq!(author(&[("USER", "alice")]), RunAuthor { ci: None, user: Some("alice".to_owned()), url: None });
        assert_eq!(author(&[]), RunAuthor { ci: None, user: None, url: None });
    }
}
