-- one row is a document, not removed so far, in a group: documents whose signatures agree in all bins of a band
-- Where more than $crowd documents agree, as all copies of one template do, the
-- band is carried on bin by bin, up to twice its length, and the crowd falls into smaller groups.
with recursive first_bins as (
    select number, band, band_key
    from collisions
    where number not in (select number from near_duplicates)
),
grown as (
    select
        $band_rows::usmallint as bins,
        band,
        band_key,
        number,
        count(*) over (partition by band, band_key) as members
    from first_bins
    union all (
        with longer as (
            select
                (grown.bins + 1)::usmallint as bins,
                grown.band,
                xor(rotated(grown.band_key, 1), coalesce(crowd_lows.low, 0)) as band_key,
                grown.number
            from grown
            left join crowd_lows
                on crowd_lows.number = grown.number
                and crowd_lows.bin = (grown.band * $band_rows + grown.bins) % $bins
            where grown.members > $crowd and grown.bins < 2 * $band_rows
        )
        select bins, band, band_key, number, count(*) over (partition by bins, band, band_key) as members
        from longer
    )
)
select bins, band, band_key, number, members
from grown
where members > 1
