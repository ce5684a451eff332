-- one row is a document, no exact copy, that breaks a quality rule, with the first rule that it breaks
-- A threshold is what is still permitted. Rules bear the names and the order of the YAML's keys.
with broken as (
    select
        number,
        list_filter([
            case when words < $min_words then 'min_words' end,
            case when words > $max_words then 'max_words' end,
            case when mean_word_length < $min_mean_word_length then 'min_mean_word_length' end,
            case when mean_word_length > $max_mean_word_length then 'max_mean_word_length' end,
            case when symbol_word_ratio > $max_symbol_word_ratio then 'max_symbol_word_ratio' end,
            case when bullet_line_ratio > $max_bullet_line_ratio then 'max_bullet_line_ratio' end,
            case when ellipsis_line_ratio > $max_ellipsis_line_ratio then 'max_ellipsis_line_ratio' end,
            case when alpha_word_ratio < $min_alpha_word_ratio then 'min_alpha_word_ratio' end,
            case when stop_words < $min_stop_words then 'min_stop_words' end,
            case when duplicate_line_ratio > $max_duplicate_line_ratio then 'max_duplicate_line_ratio' end,
            case when duplicate_line_char_ratio > $max_duplicate_line_char_ratio
                then 'max_duplicate_line_char_ratio' end,
            case when top_2_gram_char_ratio > $max_top_2_gram_char_ratio then 'max_top_2_gram_char_ratio' end,
            case when punctuated_line_ratio < $min_punctuated_line_ratio then 'min_punctuated_line_ratio' end,
            case when short_line_ratio > $max_short_line_ratio then 'max_short_line_ratio' end,
            case when newline_word_ratio > $max_newline_word_ratio then 'max_newline_word_ratio' end
        ], lambda rule: rule is not null) as rules
    from catalogue
    join quality_signals using (text_key)
    where number not in (select number from exact_duplicates)
)
select number, rules[1] as reason
from broken
where len(rules) > 0
