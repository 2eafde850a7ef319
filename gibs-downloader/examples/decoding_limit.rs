//! How many tiles a second can be validated at most, by decoding them at an eighth of their size:
//! `decoding_limit tile.jpg [COUNT]` by all cores that do nothing else, `decoding_limit http://127.0.0.1:PORT/…
//! [COUNT] [CONNECTIONS]` by the leanest client there is, which gets one address again and again and decodes what
//! comes. `--whole` decodes at full size. See scripts/bench/fetch.py.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program's main")]

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use curator_core::picture;
use rayon::prelude::*;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let whole = arguments.first().is_some_and(|first| first == "--whole");
    arguments.drain(..usize::from(whole));
    let side = if whole { u32::MAX } else { 64 };
    let number = |at: usize, usual: u32| arguments.get(at).map_or(Some(usual), |n| n.parse().ok());
    let (Some(what), Some(count), Some(connections)) =
        (arguments.first(), number(1, 4000), number(2, 32))
    else {
        eprintln!("usage: decoding_limit [--whole] tile.jpg|http://ADDRESS [COUNT] [CONNECTIONS]");
        return ExitCode::from(2);
    };
    let begun = Instant::now();
    let decoded = match what.strip_prefix("http://") {
        Some(address) => received(address, count, connections, side),
        None => std::fs::read(what).map(|tile| decoded(&tile, count, side)),
    };
    match decoded {
        Ok(decoded) => {
            println!("{:.0}", f64::from(decoded) / begun.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{what}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_good(tile: &[u8], side: u32) -> bool {
    picture::decode_for("tile", tile, side).is_ok()
}

fn decoded(tile: &[u8], count: u32, side: u32) -> u32 {
    (0..count).into_par_iter().filter(|_| is_good(tile, side)).count() as u32
}

/// Tiles that came over so many connections, a thread each, and could be decoded.
fn received(address: &str, count: u32, connections: u32, side: u32) -> Result<u32> {
    let (host, path) = address.split_once('/').ok_or(ErrorKind::InvalidInput)?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let (asked, good) = (AtomicU32::new(0), AtomicU32::new(0));
    let connection = || -> Result<()> {
        let mut line = TcpStream::connect(host)?;
        line.set_nodelay(true)?;
        let mut buffer = vec![0; 1 << 20];
        while asked.fetch_add(1, Ordering::Relaxed) < count {
            line.write_all(request.as_bytes())?;
            let tile = answer(&mut line, &mut buffer)?;
            good.fetch_add(is_good(tile, side).into(), Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(connection)).collect();
        let ends = threads.into_iter().map(|t| t.join().unwrap_or(Err(ErrorKind::Other.into())));
        ends.collect::<Result<Vec<()>>>()
    })?;
    Ok(good.into_inner())
}

/// The body of an answer of a known length.
fn answer<'a>(line: &mut TcpStream, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
    let mut end = 0;
    let mut more = |buffer: &mut [u8]| match line.read(buffer)? {
        0 => Err(Error::from(ErrorKind::UnexpectedEof)),
        bytes => Ok(bytes),
    };
    let (body, length) = loop {
        end += more(&mut buffer[end..])?;
        let head = buffer[..end].windows(4).position(|four| four == b"\r\n\r\n");
        let Some(head) = head else { continue };
        let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: Option<usize> = length.and_then(|length| length.trim().parse().ok());
        break (head + 4, length.ok_or_else(|| Error::other("an answer of no length"))?);
    };
    while end < body + length {
        end += more(&mut buffer[end..])?;
    }
    Ok(&buffer[body..body + length])
}
