-- one row is a text and how much of it repeats itself, by runs of 2 to 10 words between blanks
-- hash() tells runs apart while this query runs; none of its values is kept. Runs are unnested side by side, a list
-- and its tails. A run of five words or more is looked for only where four words occur again.
with split as (
    select
        row_number() over ()::uinteger as number,
        text_key,
        string_split(replace(replace(text, chr(10), ' '), chr(9), ' '), ' ') as words
    from texts
    where chars > 0
),
-- a word's length, up to 255 characters, in the lowest byte of its hash
coded as materialized (
    select
        number,
        text_key,
        list_transform(
            -- the filter is dear, and most texts have no two blanks in a row
            case when list_contains(words, '') then list_filter(words, lambda word: word <> '') else words end,
            lambda word: (hash(word) & ~255::ubigint) | least(length(word), 255)::ubigint
        ) as codes
    from split
),
-- of runs that occur more than once: key is the text's number before the length of the run
twos as (
    select hash(number, a, b) as run, count(*) as copies, min(number << 12 | (a & 255) + (b & 255) + 1) as key
    from (select number::ubigint as number, unnest(codes) as a, unnest(codes[2:]) as b from coded)
    where b is not null
    group by run
    having copies > 1
),
threes as (
    select
        hash(number, a, b, c) as run,
        count(*) as copies,
        min(number << 12 | (a & 255) + (b & 255) + (c & 255) + 2) as key
    from (
        select number::ubigint as number, unnest(codes) as a, unnest(codes[2:]) as b, unnest(codes[3:]) as c from coded
    )
    where c is not null
    group by run
    having copies > 1
),
fours as materialized (
    select
        hash(number, a, b, c, d) as run,
        count(*) as copies,
        min(number << 12 | (a & 255) + (b & 255) + (c & 255) + (d & 255) + 3) as key
    from (
        select
            number::ubigint as number,
            unnest(codes) as a, unnest(codes[2:]) as b, unnest(codes[3:]) as c, unnest(codes[4:]) as d
        from coded
    )
    where d is not null
    group by run
    having copies > 1
),
-- the most frequent run of a size; of several the longest
tops as (
    select key >> 12 as number, size, max(copies << 12 | (key & 4095)::bigint) as top
    from (
        select 2 as size, copies, key from twos
        union all
        select 3, copies, key from threes
        union all
        select 4, copies, key from fours
    )
    group by all
),
starts as (
    select
        number,
        unnest(codes) as a, unnest(codes[2:]) as b, unnest(codes[3:]) as c, unnest(codes[4:]) as d,
        unnest(codes[5:]) as e, unnest(codes[6:]) as f, unnest(codes[7:]) as g, unnest(codes[8:]) as h,
        unnest(codes[9:]) as i, unnest(codes[10:]) as j, unnest(codes[11:]) as k
    from (select number::ubigint as number, codes from coded)
),
repeated as (
    select
        *,
        (b & 255) + (c & 255) + (d & 255) as inside_5, inside_5 + (e & 255) as inside_6,
        inside_6 + (f & 255) as inside_7, inside_7 + (g & 255) as inside_8, inside_8 + (h & 255) as inside_9,
        inside_9 + (i & 255) as inside_10, inside_10 + (j & 255) as inside_11,
        hash(number, a, b, c, d, e) as five
    from starts
    where e is not null and hash(number, a, b, c, d) in (select run from fours)
),
-- key: the text's number, the size of the run, the length of its words but the first and the last, and of these two
sized as (
    select
        unnest([
            five, hash(five, f), hash(five, f, g), hash(five, f, g, h), hash(five, f, g, h, i),
            hash(five, f, g, h, i, j), hash(five, f, g, h, i, j, k)
        ]) as run,
        unnest([
            (number << 28) | (5 << 24) | (inside_5 << 12) | ((a & 255) + (e & 255)),
            (number << 28) | (6 << 24) | (inside_6 << 12) | ((a & 255) + (f & 255)),
            (number << 28) | (7 << 24) | (inside_7 << 12) | ((a & 255) + (g & 255)),
            (number << 28) | (8 << 24) | (inside_8 << 12) | ((a & 255) + (h & 255)),
            (number << 28) | (9 << 24) | (inside_9 << 12) | ((a & 255) + (i & 255)),
            (number << 28) | (10 << 24) | (inside_10 << 12) | ((a & 255) + (j & 255)),
            (number << 28) | (11 << 24) | (inside_11 << 12) | ((a & 255) + (k & 255))
        ]) as key
    from repeated
),
long_runs as (
    select run, count(*) - 1 as repeats, min(key) as key
    from sized
    where key is not null
    group by run
    having count(*) > 1
),
repeats as (
    select
        key >> 28 as number,
        ((key >> 24) & 15)::int as size,
        sum(repeats * ((key >> 12) & 4095)::bigint)::bigint as inside,
        sum(repeats * (((key >> 12) & 4095) + (key & 4095))::bigint)::bigint as chars
    from long_runs
    group by all
),
covered as (
    select a.number, a.size, a.chars - coalesce(b.inside, 0) as chars
    from repeats as a
    left join repeats as b on b.number = a.number and b.size = a.size + 1
    where a.size < 11
    union all
    select number, size, (top >> 12) * (top & 4095) from tops
)
select
    text_key,
    coalesce(max(covered.chars) filter (where size = 2), 0)::bigint as top_2_gram_chars,
    coalesce(max(covered.chars) filter (where size = 3), 0)::bigint as top_3_gram_chars,
    coalesce(max(covered.chars) filter (where size = 4), 0)::bigint as top_4_gram_chars,
    coalesce(max(covered.chars) filter (where size = 5), 0)::bigint as duplicate_5_gram_chars,
    coalesce(max(covered.chars) filter (where size = 6), 0)::bigint as duplicate_6_gram_chars,
    coalesce(max(covered.chars) filter (where size = 7), 0)::bigint as duplicate_7_gram_chars,
    coalesce(max(covered.chars) filter (where size = 8), 0)::bigint as duplicate_8_gram_chars,
    coalesce(max(covered.chars) filter (where size = 9), 0)::bigint as duplicate_9_gram_chars,
    coalesce(max(covered.chars) filter (where size = 10), 0)::bigint as duplicate_10_gram_chars
from coded
left join covered using (number)
group by number, text_key
