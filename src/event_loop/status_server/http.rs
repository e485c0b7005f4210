//! The part of HTTP that one page of metrics needs: a request's head, and complete answers.

use super::request::ClientRequest;
use status::open_metrics::CONTENT_TYPE;

/// Maximum number of headers; a scraper sends only a few.
const HEADERS_MAX: usize = 64;

/// Reads a request; None until its head is complete.
pub(super) fn read_request(said: &[u8]) -> Option<ClientRequest> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(said) {
        Ok(httparse::Status::Partial) => None,
        Err(_) => Some(ClientRequest::NotServed(failure("400 Bad Request"))),
        Ok(httparse::Status::Complete(_)) => {
            let path = request.path.unwrap_or_default();
            let path = path.split_once('?').map_or(path, |(path, _)| path);
            Some(match (request.method, path) {
                (Some("GET"), "/metrics") => ClientRequest::Metrics,
                (Some("GET"), _) => ClientRequest::NotServed(failure("404 Not Found")),
                _ => ClientRequest::NotServed(failure("405 Method Not Allowed")),
            })
        }
    }
}

pub(super) fn page(body: &str) -> Vec<u8> {
    whole("200 OK", CONTENT_TYPE, body)
}

fn failure(status: &str) -> Vec<u8> {
    let body = format!("{status}: metrics are at /metrics\n");
    whole(status, "text/plain; charset=utf-8", &body)
}

fn whole(status: &str, content_type: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(request: &str) -> Option<String> {
        read_request(request.as_bytes()).map(|request| match request {
            ClientRequest::Metrics => "metrics".to_owned(),
            ClientRequest::NotServed(bytes) => {
                let text = String::from_utf8(bytes).unwrap();
                text.lines().next().unwrap_or_default().to_owned()
            }
            ClientRequest::StatusSocket(request) => panic!("{request:?} is none of HTTP's"),
        })
    }

    #[test]
    fn only_the_metrics_page_is_served() {
        assert_eq!(
            answered("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").as_deref(),
            Some("metrics")
        );
        assert_eq!(answered("GET /metrics HTTP/1.1\r\nHost: a\r\n"), None);
        assert_eq!(
            answered("GET /metrics?x=1 HTTP/1.0\r\n\r\n").as_deref(),
            Some("metrics")
        );
        assert_eq!(
            answered("GET / HTTP/1.1\r\n\r\n").as_deref(),
            Some("HTTP/1.1 404 Not Found")
        );
        assert_eq!(
            answered("POST /metrics HTTP/1.1\r\n\r\n").as_deref(),
            Some("HTTP/1.1 405 Method Not Allowed")
        );
        assert_eq!(
            answered("\x16\x03\x01 tls\r\n\r\n").as_deref(),
            Some("HTTP/1.1 400 Bad Request")
        );
    }
}
