//! Who may open the pages: links that work once, and the sessions that come of them.
//!
//! Invariant: of secrets only hashes are kept, in memory alone; a restart ends every session.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use coordinator_core::actor::Actor;
use coordinator_core::event::Wall;
use coordinator_core::token::TokenHash;

use crate::api::equal;
use crate::token::{self, Kind};

/// How long a link works if nobody uses it, in µs.
const LINK: u64 = 10 * 60 * 1_000_000;

/// How long a session lasts, in seconds.
pub const SESSION: u64 = 12 * 3600;

/// Most links and most sessions that are kept of one actor; beyond it its oldest goes.
const KEPT: usize = 32;

/// The links and sessions of this coordinator.
#[derive(Default)]
pub struct Logins {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    links: VecDeque<Entry<()>>,
    sessions: VecDeque<Entry<String>>,
}

struct Entry<T> {
    hash: TokenHash,
    actor: Actor,
    expires: Wall,
    more: T,
}

/// A link to the pages.
#[derive(Clone)]
pub struct Link {
    /// Its path.
    pub path: String,
    /// From when on it is refused.
    pub expires: Wall,
}

/// An open session.
#[derive(Clone)]
pub struct Session {
    /// Who it acts for.
    pub actor: Actor,
    /// What its forms must carry.
    pub csrf_token: String,
}

impl Logins {
    /// Makes a link for an actor.
    pub fn invite(&self, actor: Actor, now: Wall) -> Link {
        let secret = token::generate(Kind::Login);
        let expires = Wall(now.0 + LINK);
        let entry = Entry { hash: token::hash(&secret), actor, expires, more: () };
        keep(&mut self.lock().links, entry, now);
        Link { path: format!("/login/{secret}"), expires }
    }

    /// Whether a link would work; does not use it up.
    pub fn is_good(&self, secret: &str, now: Wall) -> bool {
        find(&self.lock().links, &token::hash(secret), now).is_some()
    }

    /// Uses a link up; gives the session's secret, or none if the link does not work any more.
    pub fn open(&self, secret: &str, now: Wall) -> Option<String> {
        let mut state = self.lock();
        let at = find(&state.links, &token::hash(secret), now)?;
        let link = state.links.remove(at)?;
        let session = token::generate(Kind::Session);
        let entry = Entry {
            hash: token::hash(&session),
            actor: link.actor,
            expires: Wall(now.0 + SESSION * 1_000_000),
            more: token::generate(Kind::Csrf),
        };
        keep(&mut state.sessions, entry, now);
        Some(session)
    }

    /// The session whose secret has this hash.
    pub fn session(&self, hash: &TokenHash, now: Wall) -> Option<Session> {
        let state = self.lock();
        let entry = &state.sessions[find(&state.sessions, hash, now)?];
        Some(Session { actor: entry.actor.clone(), csrf_token: entry.more.clone() })
    }

    /// Ends the session whose secret has this hash.
    pub fn close(&self, hash: &TokenHash) {
        self.lock().sessions.retain(|entry| !equal(&entry.hash, hash));
    }

    /// A panic elsewhere leaves the state whole, as each change is one step.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find<T>(entries: &VecDeque<Entry<T>>, hash: &TokenHash, now: Wall) -> Option<usize> {
    entries.iter().position(|entry| entry.expires > now && equal(&entry.hash, hash))
}

fn keep<T>(entries: &mut VecDeque<Entry<T>>, entry: Entry<T>, now: Wall) {
    entries.retain(|entry| entry.expires > now);
    let own = |other: &&Entry<T>| other.actor == entry.actor;
    if entries.iter().filter(own).count() >= KEPT {
        let oldest = entries.iter().position(|other| own(&other));
        oldest.and_then(|oldest| entries.remove(oldest));
    }
    entries.push_back(entry);
}

#[cfg(test)]
mod tests {
    use coordinator_core::actor::{Grant, Role, Scope};

    use super::*;

    fn secret(link: &Link) -> &str {
        link.path.strip_prefix("/login/").unwrap()
    }

    #[test]
    fn a_link_works_once_and_not_too_late() {
        let logins = Logins::default();
        let link = logins.invite(Actor::LocalAdmin, Wall(0));
        assert!(logins.is_good(secret(&link), Wall(1)));
        let session = token::hash(&logins.open(secret(&link), Wall(1)).unwrap());
        assert!(!logins.is_good(secret(&link), Wall(1)));
        assert_eq!(logins.open(secret(&link), Wall(1)), None);
        assert_eq!(logins.session(&session, Wall(2)).unwrap().actor, Actor::LocalAdmin);
        assert!(logins.session(&session, Wall(1 + SESSION * 1_000_000)).is_none());
        let late = logins.invite(Actor::LocalAdmin, Wall(0));
        assert_eq!(logins.open(secret(&late), Wall(LINK)), None);
    }

    #[test]
    fn a_session_that_was_closed_is_gone() {
        let logins = Logins::default();
        let link = logins.invite(Actor::LocalAdmin, Wall(0));
        let session = token::hash(&logins.open(secret(&link), Wall(1)).unwrap());
        logins.close(&session);
        assert!(logins.session(&session, Wall(2)).is_none());
    }

    #[test]
    fn who_makes_many_links_pushes_out_only_their_own() {
        let logins = Logins::default();
        let grant = Grant { role: Role::View, partitions: Scope::All };
        let guest = Actor::Token { name: "guest".parse().unwrap(), grant };
        let other = logins.invite(Actor::LocalAdmin, Wall(0));
        let first = logins.invite(guest.clone(), Wall(0));
        for _ in 0..KEPT {
            logins.invite(guest.clone(), Wall(0));
        }
        assert_eq!(logins.lock().links.len(), KEPT + 1);
        assert!(logins.is_good(secret(&other), Wall(1)));
        assert!(!logins.is_good(secret(&first), Wall(1)));
    }
}
