-- one row is a text, normalised, with its size and the md5 of what it has become
-- Digits, tabs and indentation stay as they are. What no regular expression can do is done by repaired and tidied, in
-- Python and one thread: the first sees those texts alone that look damaged.
-- Most texts need next to nothing of it: one look finds those with odd characters, one those that are not NFC for sure.
with looked_at as (
    select
        *,
        regexp_matches(
            text, '[\x00-\x08\x0b\x0d-\x1f\x7f-\x{9f}\x{ad}\x{200b}\x{2028}\x{2029}\x{2060}\x{feff}]'
        ) as is_odd,
        -- beyond Latin letters and common signs, which are their own NFC and combine with nothing
        regexp_matches(
            text, '[^\x{0}-\x{2ff}\x{2010}-\x{2027}\x{2030}-\x{205e}\x{20a0}-\x{20bf}]'
        ) as may_compose
    from raw_texts
),
readable as (
    -- CRLF, CR, vertical tab, line and paragraph separator become a line feed; form feeds are needed to find pages.
    -- Control characters, zero-width space, word joiner and byte order mark go, before nfc_normalize, which stops at NUL.
    -- C1 characters, NEL and soft hyphens can be halves of other characters until the encoding is repaired
    select *, case when is_odd then regexp_replace(
        regexp_replace(text, '\r\n?|[\x0b\x{2028}\x{2029}]', chr(10), 'g'),
        '[\x00-\x08\x0e-\x1f\x7f\x{200b}\x{2060}\x{feff}]+', '', 'g'
    ) else text end as readable
    from looked_at
),
visible as (
    -- of more than 30 combining marks in a row the rest goes, as in Unicode's stream-safe format: composing takes time with
    -- the square of their number
    select *, case when may_compose then nfc_normalize(regexp_replace(readable, '(\p{M}{30})\p{M}+', '\1', 'g'))
        else readable end as visible
    from readable
),
suspected as (
    -- a pair that may be one character, an entity, an invisible character that may be half of one: three expressions,
    -- since one of them all takes four times as long
    select *,
        case when is_odd then regexp_matches(visible, '[\x{80}-\x{84}\x{86}-\x{9f}\x{ad}]') else false end
            as has_invisible,
        $repair_encoding and (
            has_invisible
            or regexp_matches(visible, $mojibake)
            or regexp_matches(visible, '&#?[0-9A-Za-z]{2,32};')
        ) as is_suspect
    from visible
),
composed as (
    select *, case
        when is_suspect then replace(repaired(visible), chr(133), chr(10))
        when is_odd then replace(
            nfc_normalize(regexp_replace(visible, '[\x{80}-\x{84}\x{86}-\x{9f}\x{ad}]+', '', 'g')), chr(133), chr(10)
        )
        else visible
    end as composed
    from suspected
),
spaced as (
    select *, regexp_replace(composed, '[\x{a0}\x{1680}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}]', ' ', 'g') as spaced
    from composed
),
trimmed as (
    -- at most two blank lines in a row, none at either end
    select *, trim(regexp_replace(spaced, '[ \t]+([\n\f]|\z)', '\1', 'g'), chr(10)) as trimmed
    from spaced
),
squeezed as (
    select *, case when contains(trimmed, repeat(chr(10), 4))
        then regexp_replace(trimmed, '\n{4,}', repeat(chr(10), 3), 'g') else trimmed end as squeezed
    from trimmed
),
normalised as (
    select
        text_key,
        case when $drop_front_matter or $drop_page_furniture or $reflow or contains(squeezed, chr(12)) then
            tidied(
                squeezed,
                $drop_front_matter,
                -- only where a line may be a page number
                $drop_page_furniture and regexp_matches(
                    squeezed,
                    '(?:\A|[\n\f])[ \t]*(?:[-–—]?[ \t]*\d{1,4}[ \t]*[-–—]?'
                    || '|[^\n\f]{0,6}(?:[Pp]age|PAGE|Seite|SEITE)[ \t][^\n\f]{1,24})[ \t]*(?:[\n\f]|\z)|\f'
                ),
                $reflow
            )
        else squeezed end as text
    from squeezed
)
select
    text_key,
    text,
    strlen(text)::bigint as bytes,
    length(text)::bigint as chars,
    md5(text) as text_md5
from normalised
