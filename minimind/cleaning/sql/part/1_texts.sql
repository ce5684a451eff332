-- one row is a text, normalised, with its size and the md5 of what it has become, in the order of the documents
-- Digits, tabs and indentation stay as they are. What no regular expression can do is done by repaired and tidied, in
-- Python and one thread: the first sees those texts alone that look damaged.
with lines as (
    -- CRLF, CR, vertical tab, line and paragraph separator become a line feed; form feeds are needed to find pages
    select *, regexp_replace(text, '\r\n?|[\x0b\x{2028}\x{2029}]', chr(10), 'g') as with_line_feeds
    from raw_texts
),
visible as (
    -- control characters, zero-width space, word joiner and byte order mark. NULs go first: nfc_normalize stops at one.
    -- C1 characters, NEL and soft hyphens can be halves of other characters until the encoding is repaired
    select *, nfc_normalize(regexp_replace(
        with_line_feeds, '[\x00-\x08\x0e-\x1f\x7f\x{200b}\x{2060}\x{feff}]+', '', 'g'
    )) as visible
    from lines
),
suspected as (
    -- a pair that may be one character, an entity, an invisible character that may be half of one: three expressions,
    -- since one of them all takes four times as long
    select *,
        regexp_matches(visible, '[\x{80}-\x{84}\x{86}-\x{9f}\x{ad}]') as has_invisible,
        $repair_encoding and (
            has_invisible
            or regexp_matches(visible, $mojibake)
            or regexp_matches(visible, '&#?[0-9A-Za-z]{2,32};')
        ) as is_suspect
    from visible
),
composed as (
    select *, replace(case
        when is_suspect then repaired(visible)
        when has_invisible then nfc_normalize(regexp_replace(visible, '[\x{80}-\x{84}\x{86}-\x{9f}\x{ad}]+', '', 'g'))
        else visible
    end, chr(133), chr(10)) as composed
    from suspected
),
spaced as (
    select *, regexp_replace(composed, '[\x{a0}\x{1680}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}]', ' ', 'g') as spaced
    from composed
),
trimmed as (
    -- at most two blank lines in a row, none at either end
    select *, regexp_replace(
        trim(regexp_replace(spaced, '[ \t]+([\n\f]|\z)', '\1', 'g'), chr(10)), '\n{4,}', repeat(chr(10), 3), 'g'
    ) as trimmed
    from spaced
),
normalised as (
    select
        place,
        text_key,
        tidied(
            trimmed,
            $drop_front_matter,
            -- only where a line may be a page number
            $drop_page_furniture and regexp_matches(
                trimmed,
                '(?:\A|[\n\f])[ \t]*(?:[-–—]?[ \t]*\d{1,4}[ \t]*[-–—]?'
                || '|[^\n\f]{0,6}(?:[Pp]age|PAGE|Seite|SEITE)[ \t][^\n\f]{1,24})[ \t]*(?:[\n\f]|\z)|\f'
            ),
            $reflow
        ) as text
    from trimmed
)
select
    text_key,
    text,
    strlen(text)::bigint as bytes,
    length(text)::bigint as chars,
    md5(text) as text_md5
from normalised
order by place
