//! A way that takes its time: passes TCP connections on, each byte later by the same time.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// Chunks of up to 64 KiB that are on their way at most; whoever sends more waits.
const UNDER_WAY: usize = 1024;

/// Passes on to `target` what comes to a free port of `address`, which it returns, for as long as
/// this process lives. Each byte is late by `each_way`.
///
/// # Panics
/// If it cannot listen.
pub fn delay(address: Ipv4Addr, target: SocketAddr, each_way: Duration) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).expect("a free port");
    let own = listener.local_addr().expect("it listens");
    spawn(move || {
        for near in listener.incoming().flatten() {
            // Nobody behind it: whoever came is hung up on.
            let Ok(far) = TcpStream::connect(target) else { continue };
            for (from, to) in [(&near, &far), (&far, &near)] {
                if let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) {
                    let _ = to.set_nodelay(true);
                    carry(from, to, each_way);
                }
            }
        }
    });
    own
}

fn carry(mut from: TcpStream, mut to: TcpStream, late: Duration) {
    let (sender, chunks) = mpsc::sync_channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if sender.send((Instant::now() + late, buffer[..read].to_vec())).is_err() {
                break;
            }
        }
    });
    spawn(move || {
        for (due, chunk) in chunks {
            sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&chunk).is_err() {
                break;
            }
        }
        // One that is broken on one side is broken on both.
        let _ = to.shutdown(Shutdown::Both);
    });
}
