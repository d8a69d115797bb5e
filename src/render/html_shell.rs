//! What every HTML page has: one file without any request to a network, a policy that allows only its own script and
//! style, landmarks for screen readers, and colors for light and dark.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::page_html::PageHtml;

const STYLE: &str = concat!(include_str!("page/page.css"), include_str!("page/graph.css"));
const SCRIPT: &str = include_str!("page/page.js");

/// A page: what it is about, its parts, and the data for its script.
pub(super) struct HtmlShell {
    /// The title of the browser's tab.
    pub(super) title: PageHtml,
    /// The content of the header.
    pub(super) header: PageHtml,
    /// The parts that the navigation lists: the name of each, and where it begins.
    pub(super) navigation: Vec<(PageHtml, PageHtml)>,
    pub(super) main: PageHtml,
    pub(super) footer: PageHtml,
    pub(super) data: Option<PageHtml>,
}

impl HtmlShell {
    pub(super) fn render(self) -> PageHtml {
        let Self { title, header, navigation, main, footer, data } = self;
        let links = navigation
            .into_iter()
            .map(|(name, id)| PageHtml::template("<li><a href=\"#{}\">{}</a></li>\n", [id, name]));
        let data =
            data.map(|data| PageHtml::template("<script type=\"application/json\" id=\"data\">{}</script>\n", [data]));
        let navigation = match links.len() {
            0 => PageHtml::default(),
            _ => PageHtml::template(
                "<nav aria-label=\"Parts of this page\">\n<ul>\n{}</ul>\n</nav>\n",
                [PageHtml::concat(links)],
            ),
        };
        PageHtml::template(
            concat!(
                "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
                "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src '{}'; ",
                "style-src '{}'; base-uri 'none'; form-action 'none'\">\n",
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
                "<meta name=\"color-scheme\" content=\"light dark\">\n",
                "<meta name=\"referrer\" content=\"no-referrer\">\n",
                "<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n",
                "<a class=\"skip\" href=\"#main\">Skip to the content</a>\n",
                "<header>\n{}</header>\n",
                "{}<main id=\"main\" tabindex=\"-1\">\n{}</main>\n",
                "<footer>\n{}</footer>\n{}<script>{}</script>\n</body>\n</html>\n",
            ),
            [
                source_hash(SCRIPT),
                source_hash(STYLE),
                title,
                PageHtml::markup(STYLE),
                header,
                navigation,
                main,
                footer,
                data.unwrap_or_default(),
                PageHtml::markup(SCRIPT),
            ],
        )
    }
}

/// The hash by which the page allows its own script or style and no other.
fn source_hash(source: &'static str) -> PageHtml {
    PageHtml::text(&format!("sha256-{}", STANDARD.encode(Sha256::digest(source.as_bytes()))))
}

/// A part of a page with its heading.
pub(super) fn section(id: PageHtml, heading: PageHtml, content: PageHtml) -> PageHtml {
    PageHtml::template(
        "<section id=\"{}\" aria-labelledby=\"{}-heading\">\n<h2 id=\"{}-heading\">{}</h2>\n{}</section>\n",
        [id.clone(), id.clone(), id, heading, content],
    )
}

/// A part of a larger part, with the heading of which it is named too, so that no two have the same name.
pub(super) fn subsection(of: PageHtml, id: PageHtml, heading: PageHtml, content: PageHtml) -> PageHtml {
    PageHtml::template(
        "<section id=\"{}\" aria-labelledby=\"{} {}-heading\">\n<h3 id=\"{}-heading\">{}</h3>\n{}</section>\n",
        [id.clone(), of, id.clone(), id, heading, content],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `</script` or `<!--` in the source would end the element or change how it is read.
    #[test]
    fn sources_do_not_end_their_elements() {
        for text in ["</", "<!--", "<script"] {
            assert!(!SCRIPT.contains(text), "page.js has {text}");
        }
        assert!(!STYLE.contains('<'));
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"), "a page makes no request");
    }
}
