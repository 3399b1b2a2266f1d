//! What to do about the errors that people meet first.

/// A hint for an answer's status and S3 code, or (status 0) for a connection that did not come
/// about.
pub(super) fn hint(status: u16, code: &str, message: &str) -> Option<&'static str> {
    let by_code = match code {
        "SignatureDoesNotMatch" => {
            "the secret key in the credentials file is not the one of this access key, or a proxy \
             changes requests"
        }
        "InvalidAccessKeyId" => "the access key in the credentials file is not known there",
        "RequestTimeTooSkewed" => "this host's clock is wrong: check chronyd",
        "ExpiredToken" => "the session token in the credentials file has expired",
        "AuthorizationHeaderMalformed"
        | "PermanentRedirect"
        | "IllegalLocationConstraintException" => "the bucket is in another region: set `region`",
        "NoSuchBucket" => "make the bucket first, or correct its name or the endpoint",
        "AccessDenied" => "the access key needs the right to this in the bucket's policy",
        "NotImplemented" => {
            "where the store does not know conditions, set `conditional_writes = \"no\"`"
        }
        _ => "",
    };
    let hint = match (status, by_code) {
        (_, hint) if !hint.is_empty() => hint,
        (301 | 307 | 308, _) => "the bucket is in another region: set `region`",
        (0, _) => connection(message),
        _ => "",
    };
    (!hint.is_empty()).then_some(hint)
}

fn connection(reason: &str) -> &'static str {
    if reason.contains("UnknownIssuer") {
        "the server's certificate is from an authority that this host does not trust: name its \
         certificate with `ca_file`"
    } else if reason.contains("NotValidForName") {
        "the server's certificate is for another name than the endpoint's"
    } else if reason.contains("certificate") {
        "the server's certificate is not valid"
    } else if reason.contains("refused") {
        "nothing listens there: check `endpoint`"
    } else if reason.contains("lookup") || reason.contains("resolve") || reason.contains("known") {
        "the name cannot be resolved: check `endpoint` and DNS"
    } else if reason.contains("corrupt message") || reason.contains("InvalidContentType") {
        "the server does not speak TLS there: an endpoint with plain HTTP begins with http://"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_meet_first_has_a_hint() {
        for (status, code, message, says) in [
            (403, "SignatureDoesNotMatch", "", "secret key"),
            (403, "RequestTimeTooSkewed", "", "clock"),
            (301, "", "", "region"),
            (400, "AuthorizationHeaderMalformed", "", "region"),
            (404, "NoSuchBucket", "", "bucket"),
            (0, "", "invalid peer certificate: UnknownIssuer", "ca_file"),
            (0, "", "Connection refused (os error 111)", "endpoint"),
            (0, "", "failed to lookup address information", "DNS"),
        ] {
            assert!(hint(status, code, message).unwrap().contains(says), "{status} {code}");
        }
        assert_eq!(hint(500, "InternalError", ""), None);
        assert_eq!(hint(0, "", "Connection reset by peer (os error 104)"), None);
    }
}
