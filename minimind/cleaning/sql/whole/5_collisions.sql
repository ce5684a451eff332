-- one row is a sound document that shares a band with another: their signatures agree in all bins of the band
-- A band begins with $band_rows bins. Made for the bands from $first_band up to $end_band, a slice at a time, so that
-- only what is shared is ever held for all bands at once.
with lowest as (
    select number, unnest(bins) as bin, unnest(lows) as low
    from sound_documents
    join signatures using (text_key)
),
keys as (
    select number, (bin // $band_rows)::usmallint as band, bit_xor(low) as band_key
    from lowest
    where bin >= $first_band * $band_rows and bin < $end_band * $band_rows
    group by all
),
counted as (
    select *, count(*) over (partition by band, band_key) as members
    from keys
)
select number, band, band_key, members
from counted
where members > 1
