-- one row is a text, normalised, with its size and the md5 of what it has become
-- Digits, tabs and indentation stay as they are. What no regular expression can do is done by repaired and tidied, in
-- Python and one thread: the first sees those texts alone that look damaged.
-- Most texts need next to nothing of it: one look at its characters says what a text may need, and a text that has
-- been changed by one step is given to all that follow.
with looked_at as (
    select *, flags_of(text) as flags
    from raw_texts
),
flagged as (
    select
        text_key,
        text as raw,
        flags & $odd <> 0 as is_odd,
        flags & $may_compose <> 0 as may_compose,
        flags & $ampersand <> 0 as has_ampersand,
        flags & $broken_pair <> 0 as has_broken_pair,
        flags & $untidy_blanks <> 0 as has_untidy_blanks
    from looked_at
),
readable as (
    -- CRLF, CR, vertical tab, line and paragraph separator become a line feed; form feeds are needed to find pages.
    -- Control characters, zero-width space, word joiner and byte order mark go, before nfc_normalize, which stops at
    -- NUL.
    -- C1 characters, NEL and soft hyphens can be halves of other characters until the encoding is repaired
    select *, case when is_odd then regexp_replace(
        regexp_replace(raw, '\r\n?|[\x0b\x{2028}\x{2029}]', chr(10), 'g'),
        '[\x00-\x08\x0e-\x1f\x7f\x{200b}\x{2060}\x{feff}]+', '', 'g'
    ) else raw end as readable
    from flagged
),
visible as (
    -- of more than 30 combining marks in a row the rest goes, as in Unicode's stream-safe format: composing takes time
    -- with the square of their number
    select *, case when may_compose then nfc_normalize(regexp_replace(readable, '(\p{M}{30})\p{M}+', '\1', 'g'))
        else readable end as visible
    from readable
),
suspected as (
    -- a pair that may be one character, an entity, an invisible character that may be half of one
    select *,
        case when is_odd then regexp_matches(visible, '[\x{80}-\x{84}\x{86}-\x{9f}\x{ad}]') else false end
            as has_invisible,
        $repair_encoding and (
            has_invisible
            or case when visible = raw then has_broken_pair else regexp_matches(visible, $mojibake) end
            or case when has_ampersand then regexp_matches(visible, '&#?[0-9A-Za-z]{2,32};') else false end
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
tidy as (
    -- plain blanks, none at a line's end; at most two blank lines in a row, none at either end
    select *, case when has_untidy_blanks or composed <> raw then with_tidy_blanks(composed) else composed end as tidy
    from composed
),
normalised as (
    select
        text_key,
        raw,
        case when $drop_front_matter or $drop_page_furniture or $reflow or contains(tidy, chr(12)) then
            tidied(
                tidy,
                $drop_front_matter,
                -- only where a line may be a page number
                $drop_page_furniture and regexp_matches(
                    tidy,
                    '(?:\A|[\n\f])[ \t]*(?:[-–—]?[ \t]*\d{1,4}[ \t]*[-–—]?'
                    || '|[^\n\f]{0,6}(?:[Pp]age|PAGE|Seite|SEITE)[ \t][^\n\f]{1,24})[ \t]*(?:[\n\f]|\z)|\f'
                ),
                $reflow
            )
        else tidy end as text
    from tidy
)
select
    text_key,
    text,
    strlen(text)::bigint as bytes,
    length(text)::bigint as chars,
    case when text = raw then text_key else md5(text) end as text_md5
from normalised
