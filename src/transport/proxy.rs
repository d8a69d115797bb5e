//! Which proxy a connection goes through, by the variables `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.

use std::collections::BTreeMap;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

/// Stands for the proxy when only `NO_PROXY` is asked about.
const ANY_PROXY: &str = "http://proxy.invalid";

/// Returns the URL of the proxy for an address, with the user and password of the variable. `None` for a direct connection.
pub(crate) fn proxy_for(target: &Uri, vars: &BTreeMap<String, String>) -> Option<Uri> {
    let value = |upper: &str, lower: &str| {
        [upper, lower].into_iter().find_map(|name| vars.get(name).filter(|value| !value.is_empty())).cloned()
    };
    let of_scheme = match target.scheme_str() {
        Some("https") => value("HTTPS_PROXY", "https_proxy"),
        _ => value("HTTP_PROXY", "http_proxy"),
    };
    let selected = of_scheme.or_else(|| value("ALL_PROXY", "all_proxy")).filter(|_| !bypasses_proxy(target, vars))?;
    let with_scheme = if selected.contains("://") { selected } else { format!("http://{selected}") };
    with_scheme.parse().ok()
}

/// Returns whether `NO_PROXY` excludes an address from the proxy.
pub(crate) fn bypasses_proxy(target: &Uri, vars: &BTreeMap<String, String>) -> bool {
    let excluded = ["NO_PROXY", "no_proxy"].into_iter().find_map(|name| vars.get(name).filter(|list| !list.is_empty()));
    excluded.is_some_and(|list| {
        let matcher = Matcher::builder().all(ANY_PROXY).no(list.as_str()).build();
        matcher.intercept(target).is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(target: &str, vars: &[(&str, &str)]) -> Option<String> {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        proxy_for(&target.parse().unwrap(), &vars).map(|uri| uri.to_string())
    }

    #[test]
    fn proxy_is_that_of_the_scheme_unless_the_host_is_excluded() {
        let https = ("HTTPS_PROXY", "http://user:pw@proxy.test:3128");
        let found = Some("http://user:pw@proxy.test:3128/".to_owned());
        assert_eq!(proxy("https://eks.eu-west-1.amazonaws.com/", &[https]), found);
        assert_eq!(proxy("http://169.254.169.254/", &[https]), None);
        assert_eq!(proxy("https://eks.eu-west-1.amazonaws.com/", &[https, ("NO_PROXY", "amazonaws.com")]), None);
        assert_eq!(proxy("https://x.eks.amazonaws.com/", &[https, ("no_proxy", ".eks.amazonaws.com")]), None);
        assert_eq!(proxy("https://10.0.0.7/", &[https, ("NO_PROXY", "10.0.0.0/8")]), None);
        assert_eq!(
            proxy("https://a.test/", &[("ALL_PROXY", "socks5://s.test:1080")]),
            Some("socks5://s.test:1080/".to_owned())
        );
        assert_eq!(proxy("https://a.test/", &[("https_proxy", "p.test:80")]), Some("http://p.test:80/".to_owned()));
        assert_eq!(proxy("https://a.test/", &[("HTTPS_PROXY", "")]), None);
    }
}
