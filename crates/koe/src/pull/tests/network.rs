//! Servers that cut, stall, lie and redirect.

use super::server::Then;
use super::*;

#[test]
fn a_cut_download_goes_on_where_it_stopped() {
    let server = server(|_, reply, _| reply.cut(100_000));
    let mut pull = Pull::from(&server);
    pull.run().unwrap();
    pull.check();
    let asked = weights(&server);
    assert_eq!(asked.iter().map(|asked| asked.start).collect::<Vec<_>>(), [0, 100_000, 200_000]);
    assert_eq!(asked[1].if_range.as_deref(), Some(ETAG));
    assert_eq!(pull.events.len(), 2);
}

#[test]
fn a_later_pull_goes_on_where_an_earlier_one_gave_up() {
    let broken = server(|_, reply, nth| reply.cut(if nth == 0 { 123_456 } else { 0 }));
    let mut pull = Pull::from(&broken);
    let complaint = pull.complaint();
    assert!(complaint.contains("after 3 tries"), "{complaint}");
    assert!(pull.installed().is_none());
    let whole = honest();
    pull.options.source = Pull::from(&whole).options.source;
    pull.run().unwrap();
    pull.check();
    assert_eq!(weights(&whole)[0].start, 123_456);
    assert_eq!(weights(&whole).len(), 1);
}

#[test]
fn a_stalled_server_is_left_and_asked_again() {
    let server = server(|_, reply, nth| match nth {
        0 => reply.cut(0).then(Then::Stall),
        1 => reply.cut(150_000).then(Then::Stall),
        _ => reply,
    });
    let mut pull = Pull::from(&server);
    pull.run().unwrap();
    pull.check();
    assert_eq!(weights(&server)[2].start, 150_000);
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // The system accepts connections; nobody reads them.
    let mut pull = Pull::new(format!("http://{}", listener.local_addr().unwrap()));
    let complaint = pull.complaint();
    assert!(complaint.contains("does not answer"), "{complaint}");
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut pull = Pull::new(format!("http://{address}"));
    assert!(pull.complaint().contains("after 3 tries"));
}

#[test]
fn a_trickle_is_a_stall() {
    let server = server(|_, reply, _| reply.then(Then::Trickle(Duration::from_millis(5))));
    let mut pull = Pull::from(&server);
    let complaint = pull.complaint();
    assert!(complaint.contains("too slow"), "{complaint}");
    assert!(weights(&server)[1].start > 0, "what trickled in was thrown away");
}

#[test]
fn a_server_that_ignores_ranges_sends_all_of_it_again() {
    let server = server(|_, reply, nth| match nth {
        0 => reply.cut(100_000),
        _ => Reply::whole(&files()[WEIGHTS]),
    });
    let mut pull = Pull::from(&server);
    pull.run().unwrap();
    pull.check();
    assert_eq!(weights(&server).len(), 2);
}

#[test]
fn a_server_that_starts_over_and_over_is_given_up() {
    let server = server(|_, _, _| Reply::whole(&files()[WEIGHTS]).cut(200_000));
    let complaint = Pull::from(&server).complaint();
    assert!(complaint.contains("tries"), "{complaint}");
    assert!(weights(&server).len() <= 5);
}

#[test]
fn a_part_that_was_not_asked_for_is_not_believed() {
    let server = server(|_, reply, nth| match nth {
        0 => reply.cut(100_000),
        1 => {
            let mut reply = Reply::whole(&files()[WEIGHTS][50_000..])
                .header("Content-Range", format!("bytes 50000-299999/{WEIGHTS_BYTES}"));
            reply.status = 206;
            reply
        }
        _ => reply,
    });
    let mut pull = Pull::from(&server);
    pull.run().unwrap();
    pull.check();
    assert_eq!(weights(&server)[2].start, 0);
}

#[test]
fn a_file_that_changed_meanwhile_is_fetched_from_the_start() {
    let changed = server(|asked, reply, nth| match nth {
        0 => reply.cut(100_000),
        _ => Reply::honest(asked, &files()[WEIGHTS], "\"other\""),
    });
    let mut pull = Pull::from(&changed);
    pull.run().unwrap();
    pull.check();
    assert_eq!(weights(&changed)[1].if_range.as_deref(), Some(ETAG));

    // A weak tag promises nothing, and is not sent back.
    let weak = server(|_, reply, nth| {
        let mut reply = reply.cut(if nth == 0 { 100_000 } else { WEIGHTS_BYTES });
        reply.headers.retain(|(name, _)| name != "ETag");
        reply.header("ETag", "W/\"tag\"")
    });
    let mut pull = Pull::from(&weak);
    pull.run().unwrap();
    assert!(weights(&weak)[1].if_range.is_none() && weights(&weak)[1].start == 100_000);
}

#[test]
fn garbage_of_an_earlier_pull_is_found_out() {
    for garbage in [vec![1; 1000], vec![1; WEIGHTS_BYTES], vec![1; WEIGHTS_BYTES + 1]] {
        let server = honest();
        let mut pull = Pull::from(&server);
        let partial = pull.partial(WEIGHTS);
        std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
        std::fs::write(&partial, garbage).unwrap();
        pull.run().unwrap();
        pull.check();
    }
    // A small file that is longer than the real one: the server has no such part.
    let server = honest();
    let mut pull = Pull::from(&server);
    let partial = pull.partial("config.json");
    std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
    std::fs::write(&partial, vec![1; 5000]).unwrap();
    pull.run().unwrap();
    pull.check();
}

#[test]
fn what_an_earlier_pull_completed_is_not_asked_for() {
    let server = honest();
    let mut pull = Pull::from(&server);
    for (path, content) in files().iter() {
        std::fs::create_dir_all(pull.partial(path).parent().unwrap()).unwrap();
        std::fs::write(pull.partial(path), content).unwrap();
    }
    pull.run().unwrap();
    pull.check();
    assert!(server.asked().is_empty());
}

#[test]
fn wrong_bytes_are_deleted_and_named() {
    let wrong = server(|_, mut reply, _| {
        reply.body[77] ^= 1;
        reply
    });
    let mut pull = Pull::from(&wrong);
    let complaint = pull.complaint();
    assert!(complaint.contains("weights.pth is not the published file"), "{complaint}");
    assert!(!pull.partial(WEIGHTS).exists() && pull.installed().is_none());
    assert_eq!(weights(&wrong).len(), 1);
}

#[test]
fn a_wrong_length_is_noticed_before_anything_is_written() {
    let login = server(|_, _, _| Reply::whole(b"<html>please log in</html>"));
    let mut pull = Pull::from(&login);
    let complaint = pull.complaint();
    assert!(
        complaint.contains("weights.pth has 26 bytes") && complaint.contains("300000"),
        "{complaint}"
    );
    assert_eq!(pull.partial(WEIGHTS).metadata().unwrap().len(), 0);

    let files = files();
    let endless = Server::new(move |asked| match asked_for(&files, asked) {
        Some(("config.json", _)) => Reply::whole(&[b' '; 1 << 20]),
        _ => Reply::new(404),
    });
    let complaint = Pull::from(&endless).complaint();
    assert!(complaint.contains("config.json") && complaint.contains("10000"), "{complaint}");
}

#[test]
fn a_body_that_does_not_end_is_left() {
    // Without a length the end of the connection is the end of the body.
    let files = files();
    let endless = Server::new(move |asked| match asked_for(&files, asked) {
        Some(("config.json", _)) => Reply { body: vec![b' '; 1 << 20], ..Reply::new(200) },
        _ => Reply::new(404),
    });
    let mut pull = Pull::from(&endless);
    let complaint = pull.complaint();
    assert!(complaint.contains("10000 at most"), "{complaint}");
    assert!(pull.partial("config.json").metadata().unwrap().len() <= 10_000);

    // Of the weights the length is known, so a cut is one even then.
    let unnamed = server(|_, reply, nth| {
        let mut reply = reply.cut(if nth == 0 { 100_000 } else { WEIGHTS_BYTES });
        reply.headers.retain(|(name, _)| name != "Content-Length");
        reply
    });
    let mut pull = Pull::from(&unnamed);
    pull.run().unwrap();
    pull.check();
    assert_eq!(weights(&unnamed)[1].start, 100_000);
}

#[test]
fn a_promise_of_more_than_comes_is_a_cut() {
    let files = files();
    let short = Server::new(move |asked| {
        let (path, content) = asked_for(&files, asked).unwrap();
        let reply = Reply::honest(asked, content, ETAG);
        if path == "config.json" && asked.start == 0 { reply.cut(500) } else { reply }
    });
    let mut pull = Pull::from(&short);
    pull.run().unwrap();
    pull.check();
}

#[test]
fn redirects_are_followed_and_the_token_stays_at_home() {
    let cdn = {
        let files = files();
        Server::new(move |asked| {
            let path = asked.path.strip_prefix("/cdn/").unwrap().split('?').next().unwrap();
            Reply::honest(asked, &files[path], ETAG)
        })
    };
    // The same machine under another name is another host.
    let elsewhere = format!("http://localhost:{}/cdn/", cdn.port);
    let hub = Server::new(move |asked| {
        let path = asked.path.strip_prefix("/hub/owner/tiny/resolve/abc123/");
        match path {
            // First within the host, by a path; then to the other.
            Some(path) => Reply::new(307).header("Location", format!("/moved/{path}")),
            None => {
                let path = asked.path.strip_prefix("/moved/").unwrap();
                Reply::new(302).header("Location", format!("{elsewhere}{path}?signature=1"))
            }
        }
    });
    let mut pull = Pull::new(format!("{}/hub/", hub.endpoint()));
    let Source::Hub { token, .. } = &mut pull.options.source else { unreachable!() };
    *token = Some(Token("hf_secret".to_owned()));
    assert!(!format!("{:?}", pull.options).contains("secret"));
    pull.run().unwrap();
    pull.check();
    assert!(hub.asked().len() == 10 && cdn.asked().len() == 5);
    let shown = |asked: &Asked| asked.authorization.as_deref() == Some("Bearer hf_secret");
    assert!(hub.asked().iter().all(shown));
    assert!(cdn.asked().iter().all(|asked| asked.authorization.is_none()));
}

#[test]
fn redirects_that_lead_nowhere_end() {
    let cases: [(&str, &str); 4] = [
        ("/owner/tiny/resolve/abc123/config.json", "without end"),
        ("ftp://example.test/", "to nowhere"),
        ("http://", "to nowhere"),
        ("", "without end"),
    ];
    for (location, expected) in cases {
        let loops = Server::new(move |_| Reply::new(302).header("Location", location));
        let complaint = Pull::from(&loops).complaint();
        assert!(complaint.contains(expected), "{location}: {complaint}");
        assert!(loops.asked().len() <= 11);
    }
    let silent = Server::new(|_| Reply::new(302));
    assert!(Pull::from(&silent).complaint().contains("to nowhere"));
}

#[test]
fn a_refusal_is_told_at_once_with_what_to_do() {
    for (status, expected) in [
        (401, "HF_TOKEN"),
        (403, "HF_TOKEN"),
        (404, "no config.json of owner/tiny at revision abc123: check HF_ENDPOINT"),
        (410, "HF_ENDPOINT"),
        (418, "418"),
        (204, "204"),
    ] {
        let server = Server::new(move |_| Reply::new(status).header("Content-Length", 0));
        let complaint = Pull::from(&server).complaint();
        assert!(complaint.contains(expected), "{status}: {complaint}");
        assert_eq!(server.asked().len(), 1, "{status}");
    }
}

#[test]
fn trouble_that_passes_is_waited_for() {
    for status in [408, 429, 500, 502, 503, 504] {
        let server = server(move |_, reply, nth| match nth {
            0 => Reply::new(status).header("Retry-After", 0).header("Content-Length", 0),
            _ => reply,
        });
        let mut pull = Pull::from(&server);
        pull.run().unwrap();
        pull.check();
        assert!(pull.events[0].contains(&status.to_string()), "{:?}", pull.events);
    }
    let down = Server::new(|_| Reply::new(503).header("Content-Length", 0));
    let complaint = Pull::from(&down).complaint();
    assert!(complaint.contains("after 3 tries") && complaint.contains("503"), "{complaint}");
    assert_eq!(down.asked().len(), 3);
}

#[test]
fn what_is_no_http_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = io::Write::write_all(&mut stream, b"220 smtp at your service\r\n\r\n");
        }
    });
    assert_ne!(Pull::new(format!("http://{address}")).complaint(), "no complaint");
    // Encryption where there is none.
    let plain = honest();
    let complaint = Pull::new(format!("https://127.0.0.1:{}", plain.port)).complaint();
    assert_ne!(complaint, "no complaint");
}

#[test]
fn a_token_that_cannot_be_sent_is_an_error_without_the_token() {
    let server = honest();
    let mut pull = Pull::from(&server);
    let Source::Hub { token, .. } = &mut pull.options.source else { unreachable!() };
    *token = Some(Token("secret\r\nX-Evil: 1".to_owned()));
    let complaint = pull.complaint();
    assert!(complaint.contains("cannot be asked") && !complaint.contains("secret"), "{complaint}");
    assert!(server.asked().is_empty());
}

/// Serves over TLS with a certificate of its own making, which is returned as PEM.
fn secure_server() -> (u16, String) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            let Some(asked) = server::read_request(&mut stream) else { continue };
            let reply = Reply::honest(&asked, asked_for(&files(), &asked).unwrap().1, ETAG);
            let _ = io::Write::write_all(&mut stream, server::head(&reply).as_bytes());
            let _ = io::Write::write_all(&mut stream, &reply.body);
            stream.conn.send_close_notify();
            let _ = io::Write::flush(&mut stream);
        }
    });
    (port, cert.pem())
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused_at_once() {
    let (port, _) = secure_server();
    let mut pull = Pull::new(format!("https://localhost:{port}"));
    let complaint = pull.complaint();
    assert!(complaint.contains("no valid certificate"), "{complaint}");
    assert!(pull.events.is_empty(), "{:?}", pull.events);
}

#[test]
fn an_authority_of_ones_own_can_be_named() {
    let (port, pem) = secure_server();
    let mut pull = Pull::new(format!("https://localhost:{port}"));
    let path = pull.data.path().join("authority.pem");
    let Source::Hub { certificates, .. } = &mut pull.options.source else { unreachable!() };
    *certificates = Some(path.clone());
    assert!(pull.complaint().contains("authority.pem"));
    std::fs::write(&path, "nothing").unwrap();
    assert!(pull.complaint().ends_with("authority.pem: it holds no certificate"));
    std::fs::write(&path, pem).unwrap();
    pull.run().unwrap();
    pull.check();
    // It is trusted for its own name only.
    let Source::Hub { endpoint, .. } = &mut pull.options.source else { unreachable!() };
    *endpoint = format!("https://127.0.0.1:{port}");
    pull.options.verify = true;
    std::fs::write(pull.installed().unwrap().folder.join(WEIGHTS), b"").unwrap();
    assert!(pull.complaint().contains("no valid certificate"));
}
