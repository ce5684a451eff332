-- one row is a text and what its words look like
-- A word is looked at once for all texts. Marks at its edges are tokens of their own, and so are hyphens and the like
-- between letters and what ends in an apostrophe: near enough to spaCy's English tokenizer to decide alike.
with numbered as materialized (
    select row_number() over ()::uinteger as number, text_key, text
    from texts
    where chars > 0
),
counted as materialized (
    select number, word, count(*) as copies
    from (
        select number, unnest(string_split(replace(replace(text, chr(10), ' '), chr(9), ' '), ' ')) as word
        from numbered
    )
    where word <> ''
    group by number, word
),
cores as (
    select word, regexp_extract(word, '^' || edge_marks() || '*(.*?)(\.|' || edge_marks() || ')*$', 1) as core
    from (select distinct word from counted)
),
parts as (
    select
        *,
        -- a row of dots is one token, and the dot of an abbreviation is none
        length(word) - length(core) - greatest(length(regexp_extract(word, '\.{2,}')) - 1, 0)
            - regexp_matches(word, '(^|[^\p{L}])\p{L}\.' || edge_marks() || '*$')::int as edges,
        case
            when contains(core, '://') then 0
            else len(regexp_extract_all(
                core, '[\p{L}\p{N}][-–—/:=<>~]\p{L}|\p{N}[-+*^]\p{N}|\p{L},\p{L}|\p{Ll}\.\p{Lu}'))
        end as joints,
        regexp_matches(core, '(?i:\p{L}[''’](s|ll|re|ve|d|m)|n[''’]t)$')::int as endings
    from cores
),
vocabulary as materialized (
    select
        word,
        lower(core) as bare_word,
        edges + (core <> '')::int + 2 * joints + endings as tokens,
        case when regexp_matches(core, '[\p{L}\p{N}]') then 1 + joints + endings else 0 end as plain_words,
        case when regexp_matches(core, '\p{L}') then 1 + joints + endings else 0 end as alpha_words,
        length(core) - joints as chars,
        len(regexp_extract_all(word, '\.{3,}|…+')) as ellipses,
        list_contains($bad_words::varchar[], bare_word) as is_bad_word
    from parts
),
-- of the document's language, or of any where the YAML lists them
stop_words as (
    select split_part(entry, ':', 1) as language, split_part(entry, ':', 2) as bare_word
    from (select unnest($stop_words::varchar[]) as entry)
),
found_stop_words as (
    select number, count(distinct bare_word) as stop_words
    from vocabulary
    join stop_words using (bare_word)
    join counted using (word)
    join numbered using (number)
    left join languages using (text_key)
    where stop_words.language in ('', languages.language)
    group by number
),
sums as (
    select
        number,
        sum(copies * tokens)::bigint as tokens,
        sum(copies * plain_words)::bigint as words,
        sum(copies * chars * (plain_words > 0)::int)::bigint as word_chars,
        sum(copies * alpha_words)::bigint as alpha_words,
        sum(copies * ellipses)::bigint as ellipses,
        sum(copies * is_bad_word::int)::bigint as bad_words
    from counted
    join vocabulary using (word)
    group by number
)
select
    numbered.text_key,
    sums.* exclude number,
    -- unknown where no list is at hand: no rule then
    case
        when exists (from stop_words where stop_words.language in ('', languages.language))
            then coalesce(found_stop_words.stop_words, 0)
    end as stop_words
from sums
join numbered using (number)
left join languages using (text_key)
left join found_stop_words using (number)
