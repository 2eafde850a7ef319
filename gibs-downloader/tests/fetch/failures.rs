//! What fails, what is not there, and what is asked again.

use std::time::Duration;

use curator_core::Manifest;

use super::service::{Fault, Service, path, picture};
use super::{FOUR, four_paths, output, rows};

#[test]
fn what_may_pass_is_asked_again() {
    let service = Service::start();
    let (_dir, out) = output();
    let paths = four_paths();
    service.once(&paths[0], Fault::TooMany(1));
    service.once(&paths[0], Fault::Status(500));
    service.once(&paths[1], Fault::Half);
    service.once(&paths[1], Fault::Empty);
    service.once(&paths[2], Fault::Stall);
    service.once(&paths[2], Fault::Cut);
    service.once(&paths[3], Fault::Exception(200, "NoApplicableCode", ""));
    let ended = service.run(&FOUR, &out);
    assert_eq!((ended.code, &ended.json["repeated"]), (0, &7.into()), "{ended:?}");
    for tile in rows(&out) {
        let served = picture(&path("Test_Daily", "2020-09-12", 6, tile.row, tile.column));
        assert_eq!(std::fs::read(out.join(&tile.path)).unwrap(), served);
    }
}

#[test]
fn the_service_sets_the_pace() {
    let service = Service::start();
    let (_dir, out) = output();
    service.once(&four_paths()[0], Fault::TooMany(2));
    let begun = std::time::Instant::now();
    assert_eq!(service.run(&FOUR, &out).code, 0);
    assert!(begun.elapsed() >= Duration::from_secs(2));
}

#[test]
fn what_fails_is_listed_and_tried_again_by_the_same_command() {
    let service = Service::start();
    let (_dir, out) = output();
    let paths = four_paths();
    service.always(&paths[0], Fault::Exception(400, "InvalidParameterValue", "TIME"));
    service.always(&paths[1], Fault::Html);
    service.always(&paths[2], Fault::Half);
    let mut arguments = FOUR.to_vec();
    arguments.extend(["--retries", "1"]);
    let first = service.run(&arguments, &out);
    assert_eq!((first.code, &first.json["failed"]), (3, &3.into()), "{first:?}");
    let list = std::fs::read_to_string(out.join("failures.jsonl")).unwrap();
    let reasons: Vec<serde_json::Value> =
        list.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(reasons.len(), 3);
    assert_eq!(reasons[0]["reason"], "HTTP 400: InvalidParameterValue, TIME, as told");
    assert!(reasons[0]["url"].as_str().unwrap().ends_with("/250m/6/13/36.jpeg"));
    assert_eq!((&reasons[0]["time"], &reasons[0]["attempts"]), (&"2020-09-12".into(), &1.into()));
    assert_eq!((&reasons[1]["kind"], &reasons[2]["kind"]), (&"xml".into(), &"damaged".into()));
    assert_eq!(rows(&out).len(), 1);

    let again = service.run(&arguments, &out);
    assert_eq!((again.code, &again.json["already"]), (3, &1.into()), "{again:?}");
    service.heal();
    let healed = service.run(&arguments, &out);
    assert_eq!((healed.code, &healed.json["fetched"]), (0, &3.into()), "{healed:?}");
    assert!(!out.join("failures.jsonl").exists());
    assert_eq!(rows(&out).len(), 4);
    assert_eq!(service.hits()[&paths[3]], 1, "what is finished is never fetched again");
    assert_eq!(service.run(&arguments, &out).json["up_to_date"], true);
}

#[test]
fn what_is_not_there_is_no_failure() {
    let service = Service::start();
    let (_dir, out) = output();
    let paths = four_paths();
    service.always(&paths[0], Fault::Status(404));
    let ended = service.run(&FOUR, &out);
    assert_eq!((ended.code, &ended.json["no_data"]), (0, &1.into()), "{ended:?}");
    assert_eq!(std::fs::read_to_string(out.join("no-data.jsonl")).unwrap().lines().count(), 1);
    assert_eq!(service.run(&FOUR, &out).json["up_to_date"], true);
    assert_eq!(service.hits()[&paths[0]], 1);

    service.heal();
    let mut again = FOUR.to_vec();
    again.extend(["--retry-failed", "--from=2020-09-11"]);
    again.retain(|argument| {
        *argument != "2020-09-12" && *argument != "--from" && *argument != "--to"
    });
    again.push("--to=2020-09-12");
    let ended = service.run(&again, &out);
    assert_eq!((ended.code, &ended.json["fetched"]), (0, &5.into()), "{ended:?}");
    assert!(!out.join("no-data.jsonl").exists());
}

#[test]
fn a_service_that_has_nothing_or_fails_everywhere_is_an_error() {
    let service = Service::start();
    let (_dir, out) = output();
    service.everywhere(Fault::Status(404));
    let nothing = service.run(&FOUR, &out);
    assert_eq!(nothing.code, 1, "{nothing:?}");
    assert!(nothing.stderr.contains("none of the 4 tiles"), "{}", nothing.stderr);
    service.everywhere(Fault::Status(400));
    let refused = service.run(&FOUR, &out);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("HTTP 400"), "{}", refused.stderr);
    assert!(!Manifest::exists(&out));
    service.heal();
    assert_eq!(service.run(&FOUR, &out).json["fetched"], 4);
}

#[test]
fn a_service_that_is_down_ends_the_run_soon() {
    let service = Service::start();
    let (_dir, out) = output();
    service.everywhere(Fault::Status(503));
    let mut arguments = FOUR.to_vec();
    arguments.extend(["--retries", "0"]);
    arguments[2] = "--bbox=-180,-90,180,90";
    let ended = service.run(&arguments, &out);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("failed 20 times in a row"), "{}", ended.stderr);
    assert!(service.total_hits() < 40, "{}", service.total_hits());
}

#[test]
fn the_directory_alone_says_what_failed_and_was_not_there() {
    let service = Service::start();
    let (_dir, out) = output();
    let alone = ["fetch", "--retry-failed"];
    let nothing = service.run(&alone, &out);
    assert_eq!(nothing.code, 2, "{nothing:?}");
    assert!(nothing.stderr.contains("the whole command"), "{}", nothing.stderr);
    let paths = four_paths();
    service.always(&paths[0], Fault::Exception(400, "InvalidParameterValue", "TIME"));
    service.always(&paths[1], Fault::Status(404));
    assert_eq!(service.run(&FOUR, &out).code, 3);
    let plan = service.run(&["fetch", "--retry-failed", "--dry-run"], &out);
    assert_eq!((plan.code, &plan.json["to_fetch"]), (0, &2.into()), "{plan:?}");
    let still = service.run(&alone, &out);
    assert_eq!((still.code, &still.json["planned"]), (3, &2.into()), "{still:?}");
    service.heal();
    let healed = service.run(&alone, &out);
    assert_eq!((healed.code, &healed.json["fetched"]), (0, &2.into()), "{healed:?}");
    assert_eq!(rows(&out).len(), 4);
    for left in ["failures.jsonl", "no-data.jsonl"] {
        assert!(!out.join(left).exists(), "{left}");
    }
    for command in [&alone[..], &FOUR] {
        assert_eq!(service.run(command, &out).json["up_to_date"], true);
    }
}
