//! Who and what there is, in pages. A page looks at a bounded part of the tables, whatever is in them, so that the loop is
//! never held for long; its cursor is a place in them, which stays that of what it names for as long as that is there: who
//! is there all the time is listed once.

use super::{Operator, body::Query, problem::Problem};
use serde_json::{Value, json};
use sockeye::{
    ConnId, Context, HttpRequest,
    dialect::Dialect,
    hub::{Application, Place},
};

/// Entries of a page, at most and when nothing is said.
pub(super) const PAGE_MAX: u32 = 1_000;
const PAGE: u32 = 100;
/// Places of the tables that are looked at for a page. What a connection is in counts, too.
const LOOKED_AT_MAX: usize = 20_000;

/// What is listed of places.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Channels,
    Groups,
    Rooms,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Channels => "channels",
            Kind::Groups => "groups",
            Kind::Rooms => "rooms",
        }
    }

    pub(super) fn place(self, name: &str) -> Place<'_> {
        match self {
            Kind::Channels => Place::Channel(name),
            Kind::Groups => Place::Group(name),
            Kind::Rooms => Place::Room(name),
        }
    }

    /// The name of a place of this kind.
    fn name_of(self, place: Place<'_>) -> Option<&str> {
        match (self, place) {
            (Kind::Channels, Place::Channel(name))
            | (Kind::Groups, Place::Group(name))
            | (Kind::Rooms, Place::Room(name)) => Some(name),
            _ => None,
        }
    }
}

/// Which part of a table is asked for.
struct Page {
    from: usize,
    entries_max: usize,
}

impl Page {
    fn of(query: &Query<'_>) -> Result<Page, Problem> {
        let entries = query.number("limit", 1..=PAGE_MAX)?.unwrap_or(PAGE);
        let Ok(from) = query.number("cursor", 0..=u32::MAX) else {
            let message = "cursor is to be what next was on the page before";
            return Err(Problem::of("cursor", "invalid_value", message));
        };
        Ok(Page { from: from.unwrap_or_default() as usize, entries_max: entries as usize })
    }

    /// Looks at one place after the other, up to `end`. `look` says how much work it was, and what was found.
    fn fill(&self, end: usize, mut look: impl FnMut(usize) -> (usize, Option<Value>)) -> (Vec<Value>, Value) {
        let (mut found, mut work) = (Vec::new(), 0);
        for at in self.from..end {
            if found.len() == self.entries_max || work >= LOOKED_AT_MAX {
                return (found, json!(at.to_string()));
            }
            let (cost, entry) = look(at);
            work += cost;
            found.extend(entry);
        }
        (found, Value::Null)
    }
}

impl<A: Application> Operator<A> {
    pub(super) fn list_places(&self, kind: Kind, request: &HttpRequest<'_>) -> Result<Value, Problem> {
        let query = Query::parse(request.query(), &["limit", "cursor", "name"])?;
        let page = Page::of(&query)?;
        let entry = |name: &str, members: usize| json!({ "name": name, "members": members });
        let (found, next) = match query.text("name") {
            Some(name) => {
                let members = self.hub.members(kind.place(name));
                (members.map(|members| entry(name, members)).into_iter().collect(), Value::Null)
            }
            None => page.fill(self.hub.places_end(), |at| {
                let found = self.hub.place_at(at);
                (1, found.and_then(|(place, members)| Some(entry(kind.name_of(place)?, members))))
            }),
        };
        Ok(json!({ kind.name(): found, "next": next }))
    }

    pub(super) fn list_connections(
        &self,
        cx: &Context<'_>,
        request: &HttpRequest<'_>,
    ) -> Result<Value, Problem> {
        let query = Query::parse(request.query(), &["limit", "cursor"])?;
        let (found, next) = Page::of(&query)?.fill(cx.connections_end(), |at| match cx.connection_at(at) {
            Some(id) => {
                let (entry, places) = self.connection(cx, id);
                (1 + places, Some(entry))
            }
            None => (1, None),
        });
        Ok(json!({ "connections": found, "next": next }))
    }

    /// One connection, and how many places it is in.
    pub(super) fn connection(&self, cx: &Context<'_>, id: ConnId) -> (Value, usize) {
        let known = self.hub.participant(id);
        let address = cx.peer(id).and_then(|peer| peer.address).map(|address| address.to_string());
        let user = match (known.user, known.alias) {
            (Some(user), _) => json!({ "id": user.uuid, "name": user.name, "verified": true }),
            (None, Some(alias)) => json!({ "id": alias, "name": alias, "verified": false }),
            (None, None) => Value::Null,
        };
        let opened = self.opened.get(id.index()).copied().unwrap_or_default();
        let since = jiff::Timestamp::from_second(opened.into()).unwrap_or_default();
        let entry = json!({
            "id": id.to_string(),
            "address": address,
            "dialect": known.dialect.map_or("auto", Dialect::name),
            "user": user,
            "admin": known.is_admin,
            "since": since.to_string(),
            "queued_bytes": cx.buffered(id).unwrap_or_default(),
            "channels": known.places,
        });
        (entry, known.places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_where_it_is_full_or_was_work_enough_and_the_next_goes_on_there() {
        let page = |from, entries_max, cost| {
            let look = |at: usize| (cost, at.is_multiple_of(2).then(|| json!(at)));
            Page { from, entries_max }.fill(10, look)
        };
        assert_eq!(page(0, 2, 1), (vec![json!(0), json!(2)], json!("3")));
        assert_eq!(page(3, 9, 1), (vec![json!(4), json!(6), json!(8)], Value::Null));
        assert_eq!(page(0, 9, LOOKED_AT_MAX / 2), (vec![json!(0)], json!("2")));
        assert_eq!(page(99, 9, 1), (vec![], Value::Null));
    }
}
