//! Items that are put again, and watched ones that are asked for (BEP 44, 46).

use super::Goal;
use crate::lookup::LookupId;
use crate::node::Dht;
use crate::outbox::Outbox;
use crate::upkeep::Due;
use samara_wire::time::Instant;

impl Dht {
    pub(super) fn start_upkeep(&mut self, now: Instant, due: Due, out: &mut Outbox) {
        match due {
            Due::Put { target, item, salt } => {
                let id = self.new_lookup();
                self.start_job(now, id, target, Goal::Put { item, salt, cas: None }, out);
            }
            Due::Watch { id, target, salt, known, item, renew } => {
                self.start_job(now, id, target, Goal::Watch { salt, known, item, renew }, out);
            }
        }
    }

    /// A watched item is no longer to be looked for.
    pub(in crate::node) fn end_watch(&mut self, id: LookupId) {
        if self.jobs.get(&id).is_some_and(|job| matches!(job.goal, Goal::Watch { .. })) {
            self.jobs.remove(&id);
        }
    }
}
