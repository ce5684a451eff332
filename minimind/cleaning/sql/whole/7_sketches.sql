-- one row is a document that shares a band with another, and its sketch: which bins it fills, and four bits of the
-- lowest hash in each. Bits from the middle: the first ones of a lowest hash are mostly zeros, and the last ones are
-- the bin. As bit strings, a pair costs less than a microsecond to compare.
with lowest as (
    select number, unnest(bins) as bin, unnest(lows) as low
    from sound_documents
    join signatures using (text_key)
    where number in (select number from collisions)
)
select
    number,
    bitstring_agg(bin, 0, $bins - 1) as filled,
    coalesce(bitstring_agg(bin, 0, $bins - 1) filter (where (low >> 32) & 1 = 1), bitstring('0', $bins)) as bit_0,
    coalesce(bitstring_agg(bin, 0, $bins - 1) filter (where (low >> 33) & 1 = 1), bitstring('0', $bins)) as bit_1,
    coalesce(bitstring_agg(bin, 0, $bins - 1) filter (where (low >> 34) & 1 = 1), bitstring('0', $bins)) as bit_2,
    coalesce(bitstring_agg(bin, 0, $bins - 1) filter (where (low >> 35) & 1 = 1), bitstring('0', $bins)) as bit_3
from lowest
group by number
