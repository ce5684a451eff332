-- one row is a candidate pair whose signatures agree in about as many bins as the least similarity asks for
-- The share of agreeing bins among those of the larger signature is at least an estimate of J. With $bins bins its
-- standard deviation is below 0.03 at J = 0.7, so a margin of $estimate_margin loses nothing that counts.
with lows as (
    select number, list(low) as lows
    from signatures
    where number in (select i from candidates union select j from candidates)
    group by number
),
agreement as (
    select i, j, len(list_intersect(a.lows, b.lows)) / greatest(len(a.lows), len(b.lows)) as estimate
    from candidates
    join lows as a on a.number = candidates.i
    join lows as b on b.number = candidates.j
    where least(len(a.lows), len(b.lows)) >= greatest(len(a.lows), len(b.lows)) * ($min_pair_jaccard - $estimate_margin)
)
select i, j
from agreement
where estimate >= $min_pair_jaccard - $estimate_margin
