//! How the service is asked.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::service::{self, Fault, Service};
use crate::{FOUR, four_paths, output, rows};

#[test]
fn a_redirect_to_elsewhere_is_refused_and_one_within_the_host_followed() {
    let service = Service::start();
    let (_dir, out) = output();
    for path in four_paths() {
        service.always(&path, Fault::Redirect("https://login.example.com/?next=tile"));
    }
    let ended = service.run(&FOUR, &out);
    assert_eq!(ended.code, 1, "{ended:?}");
    let said = "HTTP 302 leads to `https://login.example.com/?next=tile`, which is elsewhere";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    assert_eq!(service.total_hits(), 4, "asked once each");
    service.heal();
    let other = "/wmts/epsg4326/best/Test_Daily/default/2020-09-11/250m/6/13/36.jpeg";
    service.always(&four_paths()[0], Fault::Redirect(other));
    let ended = service.run(&FOUR, &out);
    assert_eq!((ended.code, &ended.json["fetched"]), (0, &4.into()), "{ended:?}");
    // It is filed under what it says that it is.
    assert_eq!(rows(&out)[0].time, "2020-09-11");
}

#[test]
fn the_service_is_asked_by_name_and_at_most_so_much_at_a_time() {
    let service = Service::start();
    service.slow(Duration::from_millis(30));
    let (_dir, out) = output();
    let mut arguments = FOUR.to_vec();
    arguments[2] = "--bbox=-18,-9,18,27";
    assert_eq!(service.run(&arguments, &out).code, 0);
    assert!((2..=4).contains(&service.at_a_time()), "{}", service.at_a_time());
    assert!(service.agents().iter().all(|agent| agent.starts_with("gibs-downloader/")));
}

#[test]
fn a_rate_and_a_bandwidth_are_kept_to() {
    let service = Service::start();
    let (_dir, out) = output();
    let mut arguments = FOUR.to_vec();
    arguments[2] = "--bbox=-18,18,-9,27";
    let begun = Instant::now();
    let ended = service.run(&[&arguments[..], &["--rate", "5"]].concat(), &out);
    assert_eq!((ended.code, &ended.json["fetched"]), (0, &4.into()), "{ended:?}");
    assert!(begun.elapsed() >= Duration::from_millis(590), "{:?}", begun.elapsed());

    let (_dir, out) = output();
    let begun = Instant::now();
    let ended = service.run(&[&arguments[..], &["--bandwidth", "50k"]].concat(), &out);
    let seconds = ended.json["bytes"].as_f64().unwrap() / 50e3;
    assert!(
        begun.elapsed().as_secs_f64() > 0.8 * seconds - 0.2,
        "{:?} of {seconds}",
        begun.elapsed()
    );
    for bad in [["--rate", "0"], ["--bandwidth", "5"], ["--bandwidth", "fast"]] {
        assert_eq!(service.run(&[&arguments[..], &bad].concat(), &out).code, 2);
    }
}

/// A command that asks another address than a service's own.
fn ask(endpoint: &str, out: &std::path::Path, environment: &[(&str, &str)]) -> service::Ended {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gibs-downloader"));
    command.args(FOUR).arg("-o").arg(out).args(["--endpoint", endpoint, "--json"]);
    command.args(["--connect-timeout", "1", "--retries", "0"]);
    command.env("XDG_CACHE_HOME", out.with_extension("cache"));
    command.envs(environment.iter().copied());
    service::Ended::from(command.output().unwrap())
}

#[test]
fn the_proxy_of_the_environment_is_used() {
    let service = Service::start();
    let (_dir, out) = output();
    let ended = ask("http://tiles.example", &out, &[("http_proxy", &service.url)]);
    assert_eq!((ended.code, &ended.json["fetched"]), (0, &4.into()), "{ended:?}");
}

#[test]
fn no_connection_is_told_from_no_answer() {
    let (_dir, out) = output();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended = ask(&format!("http://{closed}"), &out, &[]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("Connection refused"), "{}", ended.stderr);

    // Connects, and never shakes hands.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let ended = ask(&format!("https://{}", mute.local_addr().unwrap()), &out, &[]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("no connection within 1 s"), "{}", ended.stderr);
}

#[test]
fn http_2_is_spoken_where_it_is_offered_and_strangers_are_not_trusted() {
    let (dir, out) = output();
    let certificate = dir.path().join("certificate.pem");
    let service = Service::start_secure(&certificate);
    let ended = ask(&service.url, &out, &[]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("no secure connection: invalid peer cert"), "{}", ended.stderr);
    assert_eq!(service.total_hits(), 0);
    let trusted = [("SSL_CERT_FILE", certificate.to_str().unwrap())];
    let ended = ask(&service.url, &out, &trusted);
    assert_eq!((ended.code, &ended.json["fetched"]), (0, &4.into()), "{ended:?}");
    assert_eq!(service.versions(), ["HTTP/2.0"]);
}

#[test]
fn what_does_not_speak_tls_is_said_to() {
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = plain.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in plain.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 512]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let (_dir, out) = output();
    let ended = ask(&format!("https://{address}"), &out, &[]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("no secure connection"), "{}", ended.stderr);
}

#[test]
fn a_service_that_is_busy_is_asked_less_and_gives_everything_in_the_end() {
    let service = Service::start();
    let (_dir, out) = output();
    let mut arguments = FOUR.to_vec();
    arguments[2] = "--bbox=-18,-9,18,27";
    for (i, path) in (13..20).flat_map(|row| (36..40).map(move |c| (row, c))).enumerate() {
        let path = service::path("Test_Daily", "2020-09-12", 6, path.0, path.1);
        service.once(&path, if i % 2 == 0 { Fault::TooMany(1) } else { Fault::Status(503) });
    }
    let ended = service.run(&arguments, &out);
    assert_eq!((ended.code, &ended.json["fetched"]), (0, &64.into()), "{ended:?}");
    assert!(ended.json["repeated"].as_u64().unwrap() >= 20, "{ended:?}");
}
