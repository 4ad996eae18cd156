// What the gradients of attention need of a (query, head) besides its inputs. `stats` is two planes of (batch, t, heads): lse, from the forward
// pass, and delta = Σ_d do·o = Σ_j w_j·(do·v_j), the part of the softmax's gradient that all scores of a query share, from dq.
fn delta_at(head: u32) -> u32 { return p.batch * p.t * p.heads + head; }
