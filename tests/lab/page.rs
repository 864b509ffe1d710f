//! The page: one file under a strict policy, whatever its browser is called.

use scraper::{ElementRef, Html, Selector};

use super::support::peer::Peer;
use super::support::program::Program;
use super::{Page, ask, hostile_values, is_alive, is_secret, plain, serve};

fn parsed(body: &str) -> Html {
    let html = Html::parse_document(body);
    assert!(html.errors.is_empty(), "{:?}", html.errors);
    html
}

fn select<'h>(html: &'h Html, what: &str) -> Vec<ElementRef<'h>> {
    html.select(&Selector::parse(what).unwrap()).collect()
}

fn words(html: &Html, what: &str) -> String {
    let found = select(html, what);
    assert_eq!(found.len(), 1, "{what}");
    found[0].text().collect()
}

fn nonce(page: &Page) -> String {
    let policy = page.head.header("Content-Security-Policy").unwrap();
    let nonce = policy.split("'nonce-").nth(1).unwrap();
    nonce.split('\'').next().unwrap().to_owned()
}

#[test]
fn the_page_is_one_file_under_a_policy_that_lets_nothing_else_in() {
    let program = Program::serve(&[]);
    let page = Page::load(&program);
    let nonce = nonce(&page);
    assert!(is_secret(&nonce), "{nonce}");
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}' 'unsafe-inline'; style-src \
         'nonce-{nonce}' 'unsafe-inline'; connect-src 'self' ws: wss:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    );
    for (name, value) in [
        ("Content-Security-Policy", &*policy),
        ("Content-Type", "text/html; charset=utf-8"),
        ("Cache-Control", "no-store"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
    ] {
        assert_eq!(page.head.header(name), Some(value), "{name}");
    }

    let html = parsed(&page.body);
    for what in ["script", "style"] {
        let found = select(&html, what);
        assert_eq!(found.len(), 1, "{what}");
        assert_eq!(found[0].attr("nonce"), Some(&*nonce), "{what}");
    }
    let own = format!("{}/vector", page.path());
    for element in html.root_element().descendent_elements() {
        let name = element.value().name();
        let outside = [
            "link", "img", "iframe", "frame", "object", "embed", "base", "audio", "video",
            "source", "track", "applet", "area", "svg", "image",
        ];
        assert!(!outside.contains(&name), "<{name}>");
        for (attribute, value) in element.value().attrs() {
            assert!(!attribute.starts_with("on"), "<{name} {attribute}>");
            match attribute {
                "style" | "src" | "srcset" | "srcdoc" | "action" | "formaction" | "background"
                | "data" | "http-equiv" | "ping" | "poster" => panic!("<{name} {attribute}>"),
                "href" => assert!(value == own || value.starts_with('#'), "{value}"),
                _ => {}
            }
        }
    }
    let style = words(&html, "style");
    assert!(!style.contains("url(") && !style.contains("@import"));
    let script = words(&html, "script");
    for outside in ["http:", "https:/", "'//", "\"//", "import"] {
        assert!(!script.contains(outside), "{outside}");
    }
}

#[test]
fn what_can_be_used_has_a_name_and_what_the_script_looks_for_is_there() {
    let program = Program::serve(&[]);
    let page = Page::load(&program);
    let html = parsed(&page.body);
    let mut ids = Vec::new();
    for element in select(&html, "[id]") {
        let id = element.attr("id").unwrap().to_owned();
        assert!(!ids.contains(&id), "{id} stands twice");
        ids.push(id);
    }
    let controls = select(&html, "input, select, textarea");
    assert!(!controls.is_empty());
    for control in controls {
        let id = control.attr("id").unwrap();
        let label = words(&html, &format!("label[for='{id}']"));
        assert!(!label.trim().is_empty(), "{id}");
    }
    for button in select(&html, "button, a") {
        let name: String = button.text().collect();
        assert!(!name.trim().is_empty(), "{}", button.html());
        let kind = button.attr("type");
        assert!(button.value().name() == "a" || kind.is_some());
    }
    for log in select(&html, "[role=log]") {
        assert!(log.attr("aria-label").is_some(), "{}", log.html());
    }
    for cell in select(&html, "th") {
        assert!(cell.attr("scope").is_some(), "{}", cell.html());
    }
    let html_element = &select(&html, "html")[0];
    assert_eq!(html_element.attr("lang"), Some("en"));
    assert!(!words(&html, "title").is_empty());
    assert!(!words(&html, "h1").is_empty());
    let says = &select(&html, "#says")[0];
    assert_eq!(says.attr("aria-live"), Some("polite"));

    let script = words(&html, "script");
    let mut looked = 0;
    for call in ["get('", "log('"] {
        for rest in script.split(call).skip(1) {
            let id = rest.split('\'').next().unwrap();
            assert!(ids.iter().any(|i| i == id), "{call}{id}')");
            looked += 1;
        }
    }
    assert!(looked > 30, "{looked}");
}

#[test]
fn without_script_the_page_says_so_and_what_the_browser_was_known_to_speak() {
    let program = serve(&[], &["--versions", "hixie-76,rfc6455"]);
    for (agent, speaks) in [
        (
            "Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/534.34 (KHTML, like Gecko) \
             PhantomJS/1.9.8 Safari/534.34",
            "PhantomJS 1.9 is known to speak hixie-76.",
        ),
        (
            "Mozilla/5.0 (compatible; MSIE 9.0; Windows NT 6.1; Trident/5.0)",
            "Internet Explorer 9.0 is known to have no WebSocket.",
        ),
        (
            "Mozilla/5.0 (Windows NT 6.1; rv:7.0) Gecko/20100101 Firefox/7.0",
            "Firefox 7.0 is known to speak hybi-08; its constructor is called MozWebSocket. Here \
             hybi-08 is off; `--versions +hybi-08` turns it on.",
        ),
        ("curl/8.5.0", ""),
    ] {
        let page = Page::load_as(&program, agent);
        let html = parsed(&page.body);
        assert_eq!(words(&html, "#agent"), agent);
        assert_eq!(words(&html, "#speaks"), speaks);
        assert!(words(&html, "#says").contains("runs no script"));
        assert!(page.body.contains("On here: hixie-76, rfc6455."));
        let connection = page.connection();
        assert_eq!(connection["agent"], agent);
        assert_eq!(connection["speaks"].as_str().unwrap_or_default(), speaks);
    }
    let script = words(&parsed(&Page::load(&program).body), "script");
    assert!(script.contains("window.WebSocket || window.MozWebSocket"));
    assert!(script.contains("This browser has no WebSocket at all."));
}

#[test]
fn a_browser_without_a_name_gets_the_page_too() {
    let program = Program::serve(&[]);
    let mut peer = Peer::connect(program.address);
    peer.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let (head, body) = peer.response();
    assert_eq!(head.status(), 200);
    let html = parsed(&body);
    assert_eq!(words(&html, "#agent"), "");
    assert_eq!(words(&html, "#speaks"), "");
}

#[test]
fn two_loads_share_no_secret() {
    let program = Program::serve(&[]);
    let pages = [Page::load(&program), Page::load(&program)];
    let mut secrets: Vec<String> = pages
        .iter()
        .flat_map(|page| [page.token.clone(), nonce(page)])
        .collect();
    secrets.sort();
    secrets.dedup();
    assert_eq!(secrets.len(), 4);
    for page in &pages {
        for secret in secrets
            .iter()
            .filter(|s| **s != page.token && **s != nonce(page))
        {
            assert!(!page.body.contains(&**secret));
        }
        // The token is no part of what a proxy or a log may see of the answer.
        assert!(!page.head.lines.concat().contains(&page.token));
    }
}

#[test]
fn a_head_has_no_body() {
    let program = Program::serve(&[]);
    let page = Page::load(&program);
    for path in ["/".to_owned(), format!("{}/connection", page.path())] {
        let (head, _) = ask(program.address, "GET", &path, "plain");
        let mut peer = Peer::connect(program.address);
        peer.send(plain("HEAD", &path, "plain").as_bytes());
        let only = peer.head();
        assert_eq!(only.status(), 200);
        assert_eq!(only.names(), head.names());
        let length = "Content-Length";
        assert_eq!(only.header(length), head.header(length));
        peer.ends();
    }
}

/// All elements with their attributes, the secrets by their names.
fn shape(page: &Page) -> Vec<String> {
    let html = parsed(&page.body);
    let nonce = nonce(page);
    let told = html.root_element().descendent_elements().map(|element| {
        let name = element.value().name();
        let mut told = format!("<{name}");
        for (attribute, value) in element.value().attrs() {
            told.push_str(&format!(" {attribute}={value:?}"));
        }
        if matches!(name, "script" | "style") {
            told.extend(element.text());
        }
        told.replace(&page.token, "TOKEN").replace(&nonce, "NONCE")
    });
    told.collect()
}

#[test]
fn a_hostile_name_is_text_and_nothing_else() {
    let program = Program::serve(&[]);
    let plain_shape = shape(&Page::load(&program));
    let mut shown = 0;
    for value in hostile_values() {
        let mut peer = Peer::connect(program.address);
        peer.send(
            &[
                b"GET / HTTP/1.1\r\nHost: h\r\nUser-Agent: ",
                &*value,
                b"\r\n\r\n",
            ]
            .concat(),
        );
        let (head, body) = peer.response();
        let alive: Vec<char> = body.chars().filter(|c| is_alive(*c)).collect();
        assert!(alive.is_empty(), "{alive:?}");
        if head.status() == 400 {
            assert!(value.iter().any(|o| o.is_ascii_control()), "{value:?}");
            continue;
        }
        let token = body.split("var token = '").nth(1).unwrap();
        let page = Page {
            address: program.address,
            token: token.split('\'').next().unwrap().to_owned(),
            head,
            body,
        };
        assert_eq!(shape(&page), plain_shape, "{:?}", value.escape_ascii());
        // What is no visible ASCII is no name of a browser.
        let text = String::from_utf8(value).unwrap_or_default();
        let text = Some(text)
            .filter(|text| text.bytes().all(|octet| matches!(octet, 0x20..=0x7e)))
            .unwrap_or_default();
        let kept: String = text.chars().take(512).collect();
        assert_eq!(words(&parsed(&page.body), "#agent"), kept);
        assert_eq!(page.connection()["agent"], kept);
        shown += usize::from(!kept.is_empty());
    }
    assert_eq!(shown, 4);
}

#[test]
fn a_hostile_host_is_not_in_the_page() {
    let program = Program::serve(&[]);
    for host in ["<b>", "\"'><script>", "{token}"] {
        let mut peer = Peer::connect(program.address);
        peer.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        let (head, body) = peer.response();
        assert!(head.status() == 400 || !body.contains(host), "{host}");
    }
}
