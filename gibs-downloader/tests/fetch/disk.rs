//! Disks that cannot be written.

use std::process::Command;

use crate::service::{self, Service};
use crate::{FOUR, output, rows};

#[test]
fn a_full_disk_is_said_and_the_same_command_continues() {
    for layout in ["files", "packed"] {
        let service = Service::start();
        let (_dir, out) = output();
        // No file may grow beyond 8 kB: as a disk that is full to the process.
        let command = service.command(&[&FOUR[..], &["--layout", layout]].concat(), &out);
        let mut limited = Command::new("sh");
        limited.arg("-c").arg("ulimit -f 8; trap '' XFSZ; exec \"$@\"").arg("sh");
        limited.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                limited.env(name, value);
            }
        }
        let ended = service::Ended::from(limited.output().unwrap());
        assert_eq!(ended.code, 1, "{layout}: {ended:?}");
        assert!(ended.stderr.contains("cannot write `"), "{}", ended.stderr);
        let again = service.run(&[&FOUR[..], &["--layout", layout]].concat(), &out);
        assert_eq!((again.code, rows(&out).len()), (0, 4), "{layout}: {again:?}");
    }
}

#[test]
fn a_place_that_cannot_be_written_is_said() {
    let service = Service::start();
    let (dir, _) = output();
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let ended = service.run(&FOUR, &file.join("scenes"));
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("Not a directory"), "{}", ended.stderr);
    assert_eq!(service.total_hits(), 0);
}
