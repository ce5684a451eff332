-- one row is a text and what its lines and paragraphs look like
-- A line is one with something on it. Lengths are in characters. Equal lines of a text are looked at once.
with lines as (
    select text_key, line, count(*) as copies
    from (select text_key, unnest(string_split(text, chr(10))) as line from texts)
    where line <> ''
    group by text_key, line
),
measured as (
    select *, length(line) as chars, lower(line) as lower_line
    from lines
),
looked_at as (
    select
        *,
        regexp_matches(line, '^[ \t]*([•‣◦▪●■]|[-*+–—·] )') as bullet,
        ends_with(line, '...') or ends_with(line, '…') as ellipsis,
        regexp_matches(line, terminal_mark()) as punctuated,
        contains(lower_line, 'javascript') as javascript,
        contains(lower_line, 'terms of use') or contains(lower_line, 'privacy policy')
            or contains(lower_line, 'cookie policy') or contains(lower_line, 'uses cookies')
            or contains(lower_line, 'use of cookies') or contains(lower_line, 'use cookies') as policy
    from measured
),
-- the lines that C4 keeps (Raffel et al. 2020, section 2.2): a mark or a quote at the end, three words or more, no
-- notice that scripts or cookies are wanted
kept_by_c4 as (
    select
        *,
        regexp_matches(line, '[.?!"'']$') and not ellipsis and not javascript and not policy
            and len(string_split(line, ' ')) >= 3 as kept
    from looked_at
),
line_sums as (
    select
        text_key,
        sum(copies)::bigint as lines,
        sum(copies - 1)::bigint as duplicate_lines,
        sum((copies - 1) * chars)::bigint as duplicate_line_chars,
        sum(copies * (chars <= 30)::int)::bigint as short_lines,
        sum(copies * bullet::int)::bigint as bullet_lines,
        sum(copies * ellipsis::int)::bigint as ellipsis_lines,
        sum(copies * punctuated::int)::bigint as punctuated_lines,
        sum(copies * javascript::int)::bigint as javascript_lines,
        sum(copies * policy::int)::bigint as policy_lines,
        sum(copies * contains(lower_line, 'lorem ipsum')::int)::bigint as lorem_ipsum_lines,
        sum(copies * chars * kept::int)::bigint as c4_chars,
        -- a sentence ends where a mark and a blank stand, and with the line
        sum(copies * kept::int * (1 + 3 * chars - length(replace(line, '. ', '.')) - length(replace(line, '? ', '?'))
            - length(replace(line, '! ', '!'))))::bigint as sentences
    from kept_by_c4
    group by text_key
),
paragraphs as (
    select text_key, paragraph, length(paragraph) as chars, count(*) as copies
    from (
        select text_key, ltrim(unnest(string_split(text, chr(10) || chr(10))), chr(10)) as paragraph
        from texts
    )
    where paragraph <> ''
    group by text_key, paragraph
),
paragraph_sums as (
    select
        text_key,
        sum(copies)::bigint as paragraphs,
        sum(copies - 1)::bigint as duplicate_paragraphs,
        sum((copies - 1) * chars)::bigint as duplicate_paragraph_chars
    from paragraphs
    group by text_key
)
select *
from line_sums
join paragraph_sums using (text_key)
