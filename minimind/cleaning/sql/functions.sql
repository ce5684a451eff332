-- no table: what several files must compute alike
-- Nothing that is kept depends on hash(): it changed between DuckDB versions. md5_number did not.

create macro rotated(bits, places) as
    ((bits & (18446744073709551615::ubigint >> places)) << places) | (bits >> (64 - places)::ubigint);

-- the metadata of a document, with one entry set where there is a value; keys in order
create macro noted(metadata, name, value) as
    case when value is null then metadata
    else map_from_entries(list_sort(list_append(
        list_filter(map_entries(metadata), lambda entry: entry.key <> name), {'key': name, 'value': value}
    ))) end;

-- as a class of a regular expression: what is a token of its own at the beginning and at the end of a word
create macro edge_marks() as '[,:;!?¿¡()\[\]{}<>_#*&"''“”‘’„‚`´«»…§%=—–•▪●$£€©®°]';

-- as a regular expression: the end of a line that ends with a sentence, in any script; quotes and ellipses end none
create macro terminal_mark() as '[.!?‼‽⁇⁈⁉⸮。．！？｡﹒﹖﹗։؞؟۔।॥။።፧፨។៕]$';

-- a line as it is compared with the lines of other documents
create macro bare_line(line) as trim(line, chr(9) || ' ');
create macro line_hash(line) as (md5_number(bare_line(line)) >> 64)::ubigint;

-- as a table: of pairs (i, j) too similar for both to stay, i picked first, each document that goes, with the first kept
-- one that is too similar to it
-- In order of number: a document is kept unless an earlier kept one is in a pair with it. Each round decides the
-- documents whose fate is settled by those decided before; a removed document removes nothing.
create macro displaced(pairs) as table (
    with recursive decisions(number, kept) using key (number) as (
        select distinct i, true from query_table(pairs) where i not in (select j from query_table(pairs))
        union
        select edges.j, not coalesce(bool_or(earlier.kept), false)
        from query_table(pairs) as edges
        left join recurring.decisions as earlier on earlier.number = edges.i
        where edges.j not in (select number from recurring.decisions)
        group by edges.j
        having coalesce(bool_or(earlier.kept), false) or bool_and(earlier.number is not null)
    )
    select edges.j as number, min(edges.i) as kept_number
    from query_table(pairs) as edges
    join decisions as removed on removed.number = edges.j and not removed.kept
    join decisions as survivor on survivor.number = edges.i and survivor.kept
    group by edges.j
);
